//! Pieces of a body that wait in memory.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// Pieces up to this size are copied together: a body of single bytes must not cost a queue entry for each.
const SMALL: usize = 1024;
/// From this size on, copied pieces become one.
const JOINED: usize = 16 * 1024;

/// Pieces of a body that wait in memory, which takes little more than their bytes however small they are.
/// It is a body itself, of a known length.
#[derive(Debug, Default)]
pub struct HeldBody {
    pieces: VecDeque<Bytes>,
    /// Small ones, which follow the others.
    tail: BytesMut,
    length: u64,
}

impl HeldBody {
    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Bytes) {
        self.length += piece.len() as u64;
        if piece.len() > SMALL {
            self.close_tail();
            self.pieces.push_back(piece);
        } else {
            self.tail.extend_from_slice(&piece);
            if self.tail.len() >= JOINED {
                self.close_tail();
            }
        }
    }

    /// Takes the first piece.
    pub fn pop(&mut self) -> Option<Bytes> {
        if self.pieces.is_empty() {
            self.close_tail();
        }
        let piece = self.pieces.pop_front()?;
        self.length -= piece.len() as u64;
        Some(piece)
    }

    /// Bytes that wait.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces
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

    #[test]
    fn pieces_of_a_held_body_keep_their_order_and_small_ones_are_joined() {
        let mut body = HeldBody::default();
        let mut expected = Vec::new();
        for size in [1, 2, 2000, 3, 5000, 5000, 1, 1, 1024, 1025] {
            let piece = vec![expected.len() as u8; size];
            expected.extend_from_slice(&piece);
            body.push(Bytes::from(piece));
        }
        assert_eq!(body.length(), expected.len() as u64);
        let mut pieces = Vec::new();
        while let Some(piece) = body.pop() {
            assert!(!piece.is_empty());
            pieces.push(piece);
        }
        assert_eq!(pieces.concat(), expected);
        assert_eq!(pieces.len(), 7);
        assert_eq!(body.length(), 0);
    }

    #[test]
    fn single_bytes_take_no_queue_entry_each() {
        let mut body = HeldBody::default();
        for _ in 0..100_000 {
            body.push(Bytes::from_static(b"a"));
        }
        assert!(body.pieces.len() < 10);
        assert_eq!(body.length(), 100_000);
    }
}
