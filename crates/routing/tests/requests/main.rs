//! Which requests match.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

mod arguments;
mod cookies;
mod headers;
mod properties;
mod rewrites;
mod routes;
mod support;
mod variables;
