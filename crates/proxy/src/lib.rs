//! Sends requests on to other HTTP/1.1 servers, and streams their responses back.
//!
//! - [`Upstream`] has servers and their weights. [`Server`] is an address.

mod server;
mod upstream;

pub use server::Server;
pub use upstream::{MAX_WEIGHT, Upstream, WeightError};
