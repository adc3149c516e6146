//! Response data that is in memory because its client has not accepted it yet: `count` and `stream` count it, and
//! `sweep` ends connections that accept too little.

mod count;
mod current_stream;
mod heads;
mod piece;
mod stream;
mod sweep;
mod write_stalls;

pub use count::HeldForClients;
pub(crate) use count::{ConnectionHeld, HeldTotal, Verdict};
#[cfg(test)]
pub(crate) use current_stream::within_stream_sync;
pub(crate) use current_stream::{current_stream, within_stream};
pub(crate) use heads::{WithHeads, head_size};
pub(crate) use piece::{Chunk, Piece};
pub(crate) use stream::{STREAM_PIECE, StreamStallTimer, StreamState};
pub(crate) use sweep::sweep_while_alive;
pub(crate) use write_stalls::WriteStalls;
