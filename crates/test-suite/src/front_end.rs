//! The trait of a front end: how to start its server, and what it lacks.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use test_components::World;

use crate::Options;

/// A server that serves components by Unit's configuration.
pub trait FrontEnd {
    /// The command that runs it in the foreground, and writes only to `directory`: the control
    /// socket `control.sock`, the log `unit.log`, and what it keeps across restarts, under any name.
    fn command(&self, directory: &Path) -> Command;

    /// Why this front end does not do what a case needs; nothing if it does.
    fn lacks(&self, need: Need) -> Option<&'static str> {
        (need == Need::Wasi03).then_some(NO_WASI_03)
    }

    /// Why there is no such server on this machine; nothing if there is one.
    fn missing(&self) -> Option<&str> {
        None
    }

    /// Members of an application with these options.
    fn options(&self, options: &Options<'_>) -> String {
        options.members()
    }

    /// Members of an application whose responses must start within so many seconds.
    fn timeout(&self, seconds: u32) -> String {
        self.options(&Options {
            timeout: Some(seconds),
            ..Options::default()
        })
    }

    /// The world of the guests that it is to serve.
    fn world(&self) -> World {
        World::Wasi02
    }

    /// The first members of each configuration that a case starts with, such as
    /// `"settings": {…},`.
    fn settings(&self) -> &'static str {
        ""
    }
}

/// Why a case is not run with guests of WASI 0.2.
pub const NO_WASI_03: &str = "a guest of WASI 0.2 would have to do two things at once";

/// A feature that some cases need, and that some front ends lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// HTTP/2 with prior knowledge.
    Http2,
    /// The guest runs while the request's body is still being received.
    StreamedRequests,
    /// A client that leaves cancels its instance.
    Cancellation,
    /// Trailers, in both directions.
    Trailers,
    /// `100 Continue` for clients that expect it.
    Continue,
    /// Every request that HTTP allows, also methods in lower case and absolute targets.
    AnyRequest,
    /// Chunked requests with all that RFC 9112 allows, such as extensions.
    AnyChunk,
    /// The response to `HEAD` ends with its head even if the length of the body is unknown.
    HeadWithoutLength,
    /// The client always gets the head of a response that fails later, and sees that the response is cut
    /// off even in HTTP/1.0.
    ExactCutOffs,
    /// `/status` counts instances, not requests: also those that still work after their responses.
    CountedInstances,
    /// A component of WASI 0.2 without a twin: 0.3 has no way to do the same, or the case is about 0.2.
    Wasi02,
    /// A guest of WASI 0.3, whose twin has no simple way to do the same.
    Wasi03,
    /// Requests wait for an instance in a short queue, and get 503 with `Retry-After` after a second.
    ShortQueue,
}

/// A front end, with guests of WASI 0.3.
#[derive(Clone, Copy, Debug)]
pub struct Wasi03<F>(pub F);

impl<F: FrontEnd> FrontEnd for Wasi03<F> {
    fn command(&self, directory: &Path) -> Command {
        self.0.command(directory)
    }

    fn lacks(&self, need: Need) -> Option<&'static str> {
        match need {
            Need::Wasi02 => Some("the guest has no twin of WASI 0.3"),
            Need::Wasi03 => None,
            need => self.0.lacks(need),
        }
    }

    fn missing(&self) -> Option<&str> {
        self.0.missing()
    }

    fn options(&self, options: &Options<'_>) -> String {
        self.0.options(options)
    }

    fn world(&self) -> World {
        World::Wasi03
    }

    fn settings(&self) -> &'static str {
        self.0.settings()
    }
}

/// Whether there is such a server on this machine. If not, says why, once.
#[must_use]
pub fn is_here(front: &impl FrontEnd) -> bool {
    static SAID: Once = Once::new();
    let missing = front.missing();
    if let Some(why) = missing {
        SAID.call_once(|| say(&format!("skipped: {why}")));
    }
    missing.is_none()
}

/// Whether a case can be run. If not, says why.
#[doc(hidden)]
#[must_use]
pub fn can_run(front: &impl FrontEnd, case: &str, needs: &[Need]) -> bool {
    if !is_here(front) {
        return false;
    }
    let lacking = needs.iter().find_map(|need| front.lacks(*need));
    if let Some(why) = lacking {
        say(&format!("not run: {case}: {why}"));
    }
    lacking.is_none()
}

/// Not by `eprintln!`, whose output is captured in tests that pass.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
