//! Pieces of responses, which return their bytes to the counters when they are dropped. hyper and h2 own them until
//! they are written or discarded.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::count::ConnectionHeld;
use super::stream::StreamState;

/// A piece of a response's content, on its way to the socket.
pub(crate) struct Piece {
    bytes: Bytes,
    /// In HTTP/2.
    held: Option<HeldPiece>,
}

struct HeldPiece {
    stream: StreamState,
    memory: Memory,
}

enum Memory {
    /// The piece has a buffer of this size to itself.
    Own(u64),
    /// Counted until the last piece of the buffer is gone.
    Shared { _chunk: Arc<Chunk> },
}

/// The count of one buffer, for all pieces that it is cut into: it is freed with the last of them.
pub(crate) struct Chunk {
    connection: Arc<ConnectionHeld>,
    length: u64,
}

impl Chunk {
    pub(crate) fn new(length: usize, stream: &StreamState) -> Arc<Self> {
        let connection = Arc::clone(stream.connection());
        let length = length as u64;
        connection.hold(length);
        Arc::new(Self { connection, length })
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.connection.release(self.length);
    }
}

impl Piece {
    /// A piece that is a buffer by itself.
    pub(crate) fn whole(bytes: Bytes, stream: &StreamState) -> Self {
        let length = bytes.len() as u64;
        stream.connection().hold(length);
        Self::held(bytes, stream, Memory::Own(length))
    }

    pub(crate) fn of(bytes: Bytes, chunk: Arc<Chunk>, stream: &StreamState) -> Self {
        Self::held(bytes, stream, Memory::Shared { _chunk: chunk })
    }

    fn held(bytes: Bytes, stream: &StreamState, memory: Memory) -> Self {
        stream.note_given(bytes.len() as u64);
        let stream = stream.clone();
        Self {
            bytes,
            held: Some(HeldPiece { stream, memory }),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// In HTTP/1, where [`WriteStalls`](super::WriteStalls) counts.
impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, held: None }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(held) = &self.held {
            held.stream.note_written(count as u64);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else {
            return;
        };
        held.stream.note_written(self.bytes.len() as u64);
        if let Memory::Own(length) = held.memory {
            held.stream.connection().release(length);
        }
    }
}
