//! The facts about a connection that routing and the log need. Built once, when it is accepted.

use http::HeaderMap;
use routing::{Endpoint, Forwarded, Scheme};

/// The client's address, the server's address, and the scheme.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) scheme: Scheme,
    pub(crate) source: Endpoint,
    pub(crate) destination: Endpoint,
}

impl ConnectionInfo {
    /// The information for a request that came through these trusted proxies. Each is applied to the result of the
    /// previous one.
    pub(crate) fn forwarded(self, proxies: Option<&[Forwarded]>, headers: &HeaderMap) -> Self {
        let mut info = self;
        for proxy in proxies.unwrap_or_default() {
            (info.source, info.scheme) = proxy.apply(info.source, info.scheme, headers);
        }
        info
    }
}
