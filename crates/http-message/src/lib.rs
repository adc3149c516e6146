//! HTTP message handling shared by the server, the proxy and the outbound client: hop-by-hop fields, framing, error
//! pages, the stall timer, and bodies that never look complete when they are not. Not here: connections and routing.
//!
//! ```text
//! fields ──without_hop_by_hop──▶ end-to-end fields
//!    └─────Framing::of──▶ length, chunks, or nothing
//!             │FramingError
//! a body ──SentBody──▶ connection ──▶ ReceivedBody ──▶ reader
//!             │SentBodyError              │ReceivedBodyError
//! ```
//!
//! So requests of clients (`proxy`) and of guests (`outbound`) follow the same rules.
//!
//! - [`without_hop_by_hop`] drops the fields that are for one connection only.
//! - [`Framing`] is how the fields delimit a message; it refuses ambiguous ones, against smuggling.
//! - [`Length`] is the length that a request announces.
//! - [`SentBody`] is a body on its way to a server, checked against the announced length.
//! - [`ReadAhead`] reads a body of unknown length ahead, since it may be a short one.
//! - [`HeldBody`] is a body in memory.
//! - [`ReceivedBody`] is a body from a server, with a limit on the wait for each piece.
//! - [`StallTimer`] limits each wait for progress.
//! - [`SmallPieces`] joins small pieces of a body.
//! - [`FlushFirst`] lets hyper flush before a body fails.
//! - [`error_page()`] is the response where nothing else answers.

mod box_error;
mod error_page;
mod flush_first;
mod framing;
mod held_body;
mod hop_by_hop;
mod length;
mod limits;
mod read_ahead;
mod received_body;
mod sent_body;
mod small_pieces;
mod stall_timer;
mod token_list;

pub use box_error::BoxError;
pub use error_page::{error_page, raw_error_response};
pub use flush_first::FlushFirst;
pub use framing::{Framing, FramingError, content_length};
pub use held_body::HeldBody;
pub use hop_by_hop::{HopByHop, is_hop_by_hop, retain, without_hop_by_hop};
pub use length::Length;
pub use limits::READ_AHEAD;
pub use read_ahead::ReadAhead;
pub use received_body::{ReceivedBody, ReceivedBodyError, malformed};
pub use sent_body::{CutOff, SentBody, SentBodyError};
pub use small_pieces::SmallPieces;
pub use stall_timer::StallTimer;
pub use token_list::has_token;
