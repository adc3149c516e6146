//! From where a request came, and to which of the server's addresses.

use routing::{Endpoint, Scheme};

/// Where a connection begins and ends, and how it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) scheme: Scheme,
    pub(crate) source: Endpoint,
    pub(crate) destination: Endpoint,
}
