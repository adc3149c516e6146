//! Pieces of a body that wait in memory.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// Bytes of a block.
const BLOCK: usize = 16 * 1024;
/// The least memory that a body takes.
const LEAST: u64 = 64;

/// A body in memory, which takes little more than its bytes, however it has come. It is a body itself, of a known
/// length.
///
/// What is added is copied. A piece as a connection gives it is a slice of a buffer that it was read into, and keeps
/// all of that in memory: for some 1,000 bytes 8 KiB, or more.
#[derive(Debug, Default)]
pub struct HeldBody {
    /// Each of [`BLOCK`] bytes.
    blocks: VecDeque<Bytes>,
    /// Follows them, with less.
    tail: BytesMut,
    length: u64,
}

impl HeldBody {
    /// Bytes of memory that a body of this length takes at most.
    pub fn memory(length: u64) -> u64 {
        if length > BLOCK as u64 {
            length.next_multiple_of(BLOCK as u64)
        } else {
            length.next_power_of_two().max(LEAST)
        }
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        let mut left = piece;
        while !left.is_empty() {
            let (fits, rest) = left.split_at(left.len().min(BLOCK - self.tail.len()));
            self.reserve(fits.len());
            self.tail.extend_from_slice(fits);
            if self.tail.len() == BLOCK {
                self.close_tail();
            }
            left = rest;
        }
    }

    /// Takes the first piece.
    pub fn pop(&mut self) -> Option<Bytes> {
        if self.blocks.is_empty() {
            self.close_tail();
        }
        let piece = self.blocks.pop_front()?;
        self.length -= piece.len() as u64;
        Some(piece)
    }

    /// Bytes that wait.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reserves room for `more` bytes in the tail: its capacity is doubled in the first block; later blocks are
    /// allocated whole.
    fn reserve(&mut self, more: usize) {
        let needed = self.tail.len() + more;
        if needed > self.tail.capacity() {
            let capacity = if self.blocks.is_empty() {
                needed.next_power_of_two().max(LEAST as usize)
            } else {
                BLOCK
            };
            self.tail.reserve(capacity - self.tail.len());
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.blocks
                .push_back(std::mem::take(&mut self.tail).freeze());
        }
    }
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.pop().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.length == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it has allocated.
    fn allocated(body: &HeldBody) -> u64 {
        let blocks: usize = body.blocks.iter().map(Bytes::len).sum();
        (blocks + body.tail.capacity()) as u64
    }

    #[test]
    fn pieces_of_a_held_body_keep_their_order_and_are_joined() {
        let mut body = HeldBody::default();
        let mut expected = Vec::new();
        for size in [1, 2, 2000, 3, 5000, 40_000, 1, 1, 16_384, 1025, 0, 70_000] {
            let piece = vec![expected.len() as u8; size];
            expected.extend_from_slice(&piece);
            body.push(&piece);
        }
        assert_eq!(body.length(), expected.len() as u64);
        let mut pieces = Vec::new();
        while let Some(piece) = body.pop() {
            assert!(!piece.is_empty());
            pieces.push(piece);
        }
        assert_eq!(pieces.concat(), expected);
        assert_eq!(pieces.len(), expected.len().div_ceil(BLOCK));
        assert_eq!(body.length(), 0);
    }

    #[test]
    fn a_held_body_takes_no_more_memory_than_documented() {
        for size in [1, 100, 1024, 1025, 5000, BLOCK, BLOCK + 1, 100_000] {
            // Each is a part of a larger buffer, as one that was read from a connection.
            let mut body = HeldBody::default();
            while body.length() < 300_000 {
                let read = Bytes::from(vec![0; 8 * size]);
                body.push(&read.slice(..size));
                let most = HeldBody::memory(body.length());
                let allocated = allocated(&body);
                assert!(allocated <= most, "{size}: {allocated} > {most}");
            }
        }
    }

    #[test]
    fn single_bytes_share_a_block() {
        let mut body = HeldBody::default();
        for _ in 0..100_000 {
            body.push(b"a");
        }
        assert!(body.blocks.len() < 10);
        assert_eq!(body.length(), 100_000);
    }
}
