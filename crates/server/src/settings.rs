//! The settings that hold for all listeners. Which configuration they come from is not known here.

use std::num::NonZeroUsize;

use http::HeaderValue;

use crate::Timeouts;
use crate::access_log::AccessLog;

/// What holds for all listeners, and changes with the configuration.
#[derive(Clone)]
pub struct Settings {
    /// The `server` field of responses that have none of their own.
    pub name: HeaderValue,
    /// How long clients are waited for. A connection keeps those that it was opened with, but for
    /// [`Timeouts::body_read`].
    pub timeouts: Timeouts,
    /// Bytes of a request's body. One that announces more is refused with 413 before it is routed;
    /// one that turns out to have more ends in an error for its reader, and in 413 if the response
    /// has not begun.
    pub max_body_size: u64,
    /// Whether request fields are dropped whose names have anything but letters, digits and hyphens.
    pub discard_unsafe_fields: bool,
    /// Whether a request's body of unknown length is held back until it is there as a whole, and then sent
    /// to the upstream with its length. At most [`MAX_HELD`](crate::MAX_HELD) bytes are held for all.
    pub hold_uploads: bool,
    /// Whether the log tells how each request is routed.
    pub log_route: bool,
    /// Where requests are noted, if anywhere.
    pub access_log: Option<AccessLog>,
    /// How many of the server's [runtimes](crate::Options::runtimes) new connections are given to; all
    /// of them by default, and where there are not so many.
    pub workers: Option<NonZeroUsize>,
}

impl Settings {
    /// Unit's defaults, without a limit on bodies, and without an access log.
    #[must_use]
    pub fn new(name: HeaderValue) -> Self {
        Self {
            name,
            timeouts: Timeouts::default(),
            max_body_size: u64::MAX,
            discard_unsafe_fields: true,
            hold_uploads: false,
            log_route: false,
            access_log: None,
            workers: None,
        }
    }
}
