//! Text for a log: bounded in length, and with escapes for characters that act on a terminal or a log reader.

use std::fmt;

/// Bytes that are scanned before they are passed on. So a writer that is full ends the scan of a long text.
const PIECE: usize = 1024;

/// The beginning of a text. Once it is full, writing to it fails, which ends the formatting of what is written: the
/// remainder of a guest's text of megabytes costs nothing.
///
/// Its [`Display`](fmt::Display) form ends in `… (cut)` if anything is missing.
#[derive(Debug)]
pub struct BoundedText {
    text: String,
    limit: usize,
    is_cut: bool,
}

impl BoundedText {
    /// Keeps up to `limit` bytes, and cuts between two characters.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            text: String::new(),
            limit,
            is_cut: false,
        }
    }

    /// The beginning of what `text` displays.
    pub fn of(limit: usize, text: impl fmt::Display) -> Self {
        let mut bounded = Self::new(limit);
        // Fails when the text is cut, which `is_cut` says.
        let _ = fmt::Write::write_fmt(&mut bounded, format_args!("{text}"));
        bounded
    }

    /// What has been kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether anything is missing.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl fmt::Write for BoundedText {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let room = self.limit.saturating_sub(self.text.len());
        let end = piece.floor_char_boundary(room);
        self.text.push_str(&piece[..end]);
        self.is_cut = end < piece.len();
        if self.is_cut { Err(fmt::Error) } else { Ok(()) }
    }
}

impl fmt::Display for BoundedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_cut { "… (cut)" } else { "" };
        write!(f, "{}{end}", self.text)
    }
}

/// Escapes what is written to it, so that it stays one line and acts on nothing. Tabs are kept.
#[derive(Debug)]
pub struct Escaped<W>(pub W);

impl<W: fmt::Write> fmt::Write for Escaped<W> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        let is_escaped = |c| needs_escape(c) && c != '\t';
        while !text.is_empty() {
            let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE));
            text = rest;
            for part in piece.split_inclusive(is_escaped) {
                match part.char_indices().next_back() {
                    Some((end, c)) if is_escaped(c) => {
                        self.0.write_str(&part[..end])?;
                        write!(self.0, "{}", c.escape_default())?;
                    }
                    _ => self.0.write_str(part)?,
                }
            }
        }
        Ok(())
    }
}

/// The project's one rule for what is escaped in logs: control characters, bidirectional formatting characters,
/// which reorder what is seen of a line, and line separators.
#[must_use]
pub fn needs_escape(c: char) -> bool {
    let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fmt::Write as _;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut line = String::new();
        Escaped(&mut line).write_str(text).unwrap();
        line
    }

    #[test]
    fn text_is_cut_at_a_character() {
        let text = BoundedText::of(5, "aéééé");
        assert_eq!(text.as_str(), "aéé");
        assert_eq!(text.to_string(), "aéé… (cut)");
        assert_eq!(BoundedText::of(3, "abc").to_string(), "abc");
        assert_eq!(BoundedText::of(0, "").to_string(), "");
    }

    #[test]
    fn nothing_is_formatted_after_the_text_is_full() {
        struct Counted<'a>(&'a Cell<u32>);
        impl fmt::Display for Counted<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for _ in 0..1_000_000 {
                    self.0.set(self.0.get() + 1);
                    f.write_str("abc")?;
                }
                Ok(())
            }
        }
        let pieces = Cell::new(0);
        let text = BoundedText::of(4, Counted(&pieces));
        assert_eq!(
            (text.to_string().as_str(), pieces.get()),
            ("abca… (cut)", 2)
        );
        let mut full = text;
        assert!(full.write_str("").is_err());
        assert_eq!(full.as_str(), "abca");
    }

    #[test]
    fn a_long_text_is_not_looked_at_beyond_what_is_kept() {
        // A writer that counts the bytes that it is offered.
        struct Offered<'a>(BoundedText, &'a Cell<usize>);
        impl fmt::Write for Offered<'_> {
            fn write_str(&mut self, piece: &str) -> fmt::Result {
                self.1.set(self.1.get() + piece.len());
                self.0.write_str(piece)
            }
        }
        let offered = Cell::new(0);
        let mut writer = Escaped(Offered(BoundedText::new(2000), &offered));
        assert!(writer.write_str(&"x".repeat(1 << 20)).is_err());
        assert_eq!(writer.0.0.as_str().len(), 2000);
        assert!(offered.get() <= 2000 + PIECE, "{}", offered.get());
    }

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(escaped("a\nb\u{1b}[0m\tc\r\n"), "a\\nb\\u{1b}[0m\tc\\r\\n");
    }

    #[test]
    fn no_character_reorders_an_event() {
        assert_eq!(
            escaped("é\u{202e}b\u{2066}c\u{2028}\u{9b}\u{61c}\u{200e}\u{200f}"),
            r"é\u{202e}b\u{2066}c\u{2028}\u{9b}\u{61c}\u{200e}\u{200f}"
        );
    }

    #[test]
    fn text_longer_than_a_piece_is_whole() {
        let text = "é\n".repeat(PIECE);
        assert_eq!(escaped(&text), "é\\n".repeat(PIECE));
    }
}
