//! From where a request came, and to which of the server's addresses.

use http::HeaderMap;
use routing::{Endpoint, Forwarded, Scheme};

/// Where a connection begins and ends, and how it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) scheme: Scheme,
    pub(crate) source: Endpoint,
    pub(crate) destination: Endpoint,
}

impl Ends {
    /// Those of a request that has come through these proxies, which are believed one after the other.
    pub(crate) fn forwarded(self, proxies: Option<&[Forwarded]>, headers: &HeaderMap) -> Self {
        let mut ends = self;
        for proxy in proxies.unwrap_or_default() {
            (ends.source, ends.scheme) = proxy.apply(ends.source, ends.scheme, headers);
        }
        ends
    }
}
