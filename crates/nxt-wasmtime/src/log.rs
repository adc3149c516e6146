//! Unit's log: set-up of `tracing` for the module, and alerts. The form of the lines is in `unit-log`.

use std::ffi::CString;
use std::io::{self, Write as _};

use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::FilterExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use unit_log::{Lines, RateLimit};
use unit_sys::{NXT_LOG_ALERT, nxt_task_t, nxt_uint_t};

/// Events without a rate limit. What guests print has one of its own.
const UNLIMITED: [&str; 1] = ["unit_log::guest_output::lines"];

/// Sends all events to Unit's log, which is this process's standard error, from now on.
pub(crate) fn start() {
    let limit = RateLimit::new(&UNLIMITED);
    let layer = tracing_subscriber::fmt::layer()
        .event_format(Lines::Module)
        .with_writer(io::stderr)
        // A log that cannot be written to must not end in a panic.
        .log_internal_errors(false)
        .with_filter(unit_log::targets(Level::INFO).and(limit.clone()));
    let subscriber = tracing_subscriber::registry().with(layer);
    // Fails only if `setup()` is called twice. Forked processes inherit the subscriber and the panic hook.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        // Not as an event: the panic may have happened while one was being logged.
        std::panic::set_hook(Box::new(move |panic| {
            if limit.admits_panic() {
                let line = Lines::Module.panic(panic);
                let _ = io::stderr().write_all(line.as_bytes());
            }
        }));
    }
}

/// Writes an alert, Unit's level for an application that does not work.
///
/// # Safety
///
/// `task` must be the task that unitd called with, on the thread that it called on.
pub(crate) unsafe fn alert(task: *mut nxt_task_t, message: &str) {
    let text = message.replace('\0', "\\0");
    let Ok(text) = CString::new(text) else {
        return;
    };
    // SAFETY: by the caller's promise the task is unitd's, which has a log for its whole life.
    let log = unsafe { (*task).log };
    // SAFETY: as above.
    if let Some(handler) = unsafe { (*log).handler } {
        let level = nxt_uint_t::from(NXT_LOG_ALERT);
        // SAFETY: `%s` is Unit's format for a string that ends in NUL, as `text` does.
        unsafe { handler(level, log, c"%s".as_ptr(), text.as_ptr()) };
    }
}
