//! HTTP messages on their way from one connection to another: which of their fields go along, where
//! they end, and bodies that never look whole when they are not.
//!
//! ```text
//! fields ──without_hop_by_hop──▶ end-to-end fields
//!    └─────Framing::of──▶ length, chunks, or nothing
//!             │FramingError
//! a body ──SentBody──▶ connection ──▶ ReceivedBody ──▶ reader
//!             │SentBodyError              │ReceivedBodyError
//! ```
//!
//! What is sent and what is received is held to the same rules by whoever sends requests: for
//! clients (`proxy`) and for guests (`outbound`). This crate opens no connection and knows neither.
//!
//! - [`without_hop_by_hop`] drops the fields that are for one connection only.
//! - [`Framing`] is what the fields say of a message's length, if they say one thing.
//! - [`Length`] is what a request says of its body's length.
//! - [`SentBody`] is a body on its way to a server, held to what was announced.
//! - [`ReadAhead`] finds out whether a body of unknown length is a short one that is there as a whole.
//! - [`HeldBody`] is a body in memory.
//! - [`ReceivedBody`] is a body as a server sends it, with a limit on the wait for each piece.
//! - [`StallTimer`] is such a limit by itself.
//! - [`SmallPieces`] are pieces of a body that are passed on together.

mod error_page;
mod framing;
mod held_body;
mod hop_by_hop;
mod length;

mod read_ahead;
mod received_body;
mod sent_body;
mod small_pieces;
mod stall_timer;
mod token_list;

pub use error_page::{error_page, raw_error_response};
pub use framing::{Framing, FramingError, content_length};
pub use held_body::HeldBody;
pub use hop_by_hop::{HopByHop, is_hop_by_hop, retain, without_hop_by_hop};
pub use length::Length;
pub use read_ahead::{READ_AHEAD, ReadAhead};
pub use received_body::{ReceivedBody, ReceivedBodyError, malformed};
pub use sent_body::{CutOff, SentBody, SentBodyError};
pub use small_pieces::SmallPieces;
pub use stall_timer::StallTimer;
pub use token_list::has_token;

/// An error of somebody else's making.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
