//! What guests write to their standard output and error: cut into lines, limited in rate, and passed to the log or
//! to a file.
//!
//! ```text
//!   guest ─▶ GuestLines ──a line, or 8 KiB of one──▶ OutputRate ──▶ the server's log, escaped
//!            (per stream of a guest)                  │   └──▶ OutputFile, unescaped ──▶ FileQueue ──▶ write(2)
//!                                                     ▼              ▼
//!                                                 LossCounter    LossCounter
//! ```
//!
//! Printing never blocks a guest and never fails for it. Knows nothing of WASI: the engine's `sandbox` has the
//! streams that guests write to.

mod application;
mod current_request;
mod lines;
mod rate;

pub use application::{ApplicationOutput, Output};
pub use current_request::CurrentRequest;
pub use lines::GuestLines;
