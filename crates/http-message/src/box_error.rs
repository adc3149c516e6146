//! The error type of bodies that callers pass in.

/// The error of a body that a caller passes in.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
