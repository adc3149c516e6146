//! What a request asks of a share, and the paths to look it up at.

use std::time::SystemTime;

use http::{HeaderMap, Method};

use crate::path::ExpandedPath;

/// The files that one request may be served with, after all variables have been expanded.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// What `share` lists. They are tried in order; the last one's failure is the outcome.
    pub share: Vec<ExpandedPath>,
    /// The folder that none of them leaves: the kernel keeps links, absolute ones too, within it.
    /// Empty is none. A path that does not begin with this text, or equals it, is forbidden (403).
    pub chroot: ExpandedPath,
}

/// What of a request counts.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Anything but `GET` and `HEAD` is not served.
    pub method: &'a Method,
    /// The conditions, `range` and `accept-encoding` are read.
    pub headers: &'a HeaderMap,
    /// The path as Unit knows it: percent-decoded and normalised. It is not looked for, but is what
    /// a redirection is made of.
    pub path: &'a [u8],
    /// Without the question mark, as the client sent it.
    pub query: &'a str,
    /// The time of the response's `Date`.
    pub now: SystemTime,
}
