//! Small pieces of a body, joined so that their reader is woken less often.

use bytes::{Bytes, BytesMut};
use http_body::Frame;

/// Bytes that are joined before the reader gets them.
const ENOUGH: usize = 16 * 1024;

/// Pieces of fewer bytes are joined.
const SMALL: usize = 1024;

/// Joins small pieces of a body. A single piece is not copied.
#[derive(Debug, Default)]
pub struct SmallPieces {
    first: Bytes,
    /// The first piece and those after it, if there are several.
    joined: BytesMut,
}

impl SmallPieces {
    /// Whether copying this piece is cheaper than waking the reader for it.
    pub fn is_small(frame: &Frame<Bytes>) -> bool {
        frame.data_ref().is_some_and(|data| data.len() < SMALL)
    }

    /// Adds a piece.
    pub fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() {
            self.first = piece;
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&self.first);
        }
        self.joined.extend_from_slice(&piece);
    }

    /// All pieces, joined; `None` if there are no bytes.
    pub fn take(&mut self) -> Option<Bytes> {
        let first = std::mem::take(&mut self.first);
        let all = if self.joined.is_empty() {
            first
        } else {
            self.joined.split().freeze()
        };
        (!all.is_empty()).then_some(all)
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.joined.len().max(self.first.len())
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Whether the reader should get them now.
    pub fn is_enough(&self) -> bool {
        self.len() >= ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_in_order_and_one_that_is_alone_is_not_copied() {
        let mut pieces = SmallPieces::default();
        assert_eq!(pieces.take(), None);
        let alone = Bytes::from("alone".to_owned());
        pieces.push(alone.clone());
        assert_eq!(pieces.take().map(|it| it.as_ptr()), Some(alone.as_ptr()));
        for _ in 0..2 {
            assert!(pieces.is_empty());
            for piece in ["a", "bc", "", "d"] {
                pieces.push(Bytes::from_static(piece.as_bytes()));
            }
            assert_eq!(pieces.len(), 4);
            assert_eq!(pieces.take(), Some(Bytes::from_static(b"abcd")));
        }
        pieces.push(Bytes::from(vec![0; ENOUGH - 1]));
        assert!(!pieces.is_enough());
        pieces.push(Bytes::from_static(b"x"));
        assert!(pieces.is_enough());
    }
}
