//! Shares of temporary folders, asked from outside. One module per area.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

mod bodies;
mod conditions;
mod index;
mod precompressed;
mod ranges;
mod redirects;
mod shares;
mod support;
mod traversal;
mod types;
