//! Text of a bounded length.

use std::fmt;

/// Text that keeps a number of bytes, and counts those that are left out.
pub(crate) struct BoundedText {
    text: String,
    limit: usize,
    omitted: usize,
}

impl BoundedText {
    /// Keeps `limit` bytes, or a few less, so that no character is cut.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            text: String::new(),
            limit,
            omitted: 0,
        }
    }

    pub(crate) fn of(limit: usize, text: impl fmt::Display) -> Self {
        let mut bounded = Self::new(limit);
        // Writing to it cannot fail.
        let _ = fmt::Write::write_fmt(&mut bounded, format_args!("{text}"));
        bounded
    }

    /// What has been kept.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// How many bytes have not.
    pub(crate) fn omitted(&self) -> usize {
        self.omitted
    }
}

impl fmt::Write for BoundedText {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = match self.omitted {
            0 => self.limit.saturating_sub(self.text.len()),
            _ => 0,
        };
        let end = piece.floor_char_boundary(room);
        self.text.push_str(&piece[..end]);
        self.omitted += piece.len() - end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_a_character_and_the_rest_is_counted() {
        let text = BoundedText::of(5, "aéééé");
        assert_eq!((text.as_str(), text.omitted()), ("aéé", 4));
        let mut pieces = BoundedText::new(4);
        for piece in ["abc", "é", "d"] {
            fmt::Write::write_str(&mut pieces, piece).unwrap();
        }
        assert_eq!((pieces.as_str(), pieces.omitted()), ("abc", 3));
        let whole = BoundedText::of(3, "abc");
        assert_eq!((whole.as_str(), whole.omitted()), ("abc", 0));
    }
}
