//! What guests write to their standard output and error: where it goes, and how much of it.
//!
//! ```text
//!   guest ─▶ Lines ──a line, or 8 KiB of one──▶ Rate ──▶ the server's log, escaped
//!            (one a stream of a guest)           │   └──▶ OutputFile, as it is ──▶ Queue ──▶ write(2)
//!                                                ▼                  ▼
//!                                             Losses             Losses
//! ```
//!
//! A guest is never slowed down by this and never sees an error.

mod lines;
mod printing;
mod rate;
mod speaker;

pub use lines::GuestLines;
pub use printing::{Output, Printing};
pub use speaker::Speaker;
