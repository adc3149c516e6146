//! Quoting text from outside in a message.

/// The text with control characters, quotes and backslashes escaped, so that it cannot forge another
/// log line, and cut off with `…` after 100 characters.
#[must_use]
pub fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 100;
    let mut excerpt: String = text
        .chars()
        .take(MAX_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_line_without_control_characters() {
        assert_eq!(excerpt("a\n\"b\"\\\u{85}é"), "a\\n\\\"b\\\"\\\\\\u{85}é");
    }

    #[test]
    fn an_excerpt_ends_after_100_characters() {
        assert_eq!(excerpt(&"é".repeat(100)), "é".repeat(100));
        assert_eq!(excerpt(&"é".repeat(101)), "é".repeat(100) + "…");
    }
}
