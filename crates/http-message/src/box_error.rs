//! Errors of bodies that are made elsewhere.

/// The error of a body that is read here, and was made elsewhere.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
