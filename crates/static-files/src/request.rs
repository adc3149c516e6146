//! What a request asks of a share, and the paths to look it up at.

use std::time::SystemTime;

use http::{HeaderMap, Method};

use crate::path::ExpandedPath;

/// The paths to look up for one request, with all variables expanded.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// The paths of `share`, which are tried in order. If all fail, the last one's error counts.
    pub share: Vec<ExpandedPath>,
    /// The folder that lookups cannot leave, not even by absolute symlinks; empty for no such folder. A path that
    /// does not begin with this text, or equals it, is forbidden (403).
    pub chroot: ExpandedPath,
}

/// The parts of a request that a share uses.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Only `GET` and `HEAD` are served.
    pub method: &'a Method,
    /// Of these, conditions, `range` and `accept-encoding` are used.
    pub headers: &'a HeaderMap,
    /// The percent-decoded and normalised path. Not looked up, only used for redirects.
    pub path: &'a [u8],
    /// The query as the client sent it, without the question mark.
    pub query: &'a str,
    /// The time for the response's `Date`.
    pub now: SystemTime,
}
