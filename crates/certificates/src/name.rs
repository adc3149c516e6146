//! Which texts are names of bundles. A name is also a file name, so nothing may lead out of the folder.

/// Checks the name of a bundle, as it is used in `/certificates/NAME` and in a listener's
/// `certificate`.
///
/// A name has 1 to 250 bytes, does not begin with a dot, and contains neither slashes nor control
/// characters. Names are case-sensitive.
///
/// # Errors
///
/// The first rule that the name breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    // File names have 255 bytes at most, and the temporary file adds a dot before and ".tmp" after it.
    if name.len() > 250 {
        return Err(NameError::TooLong);
    }
    if name.starts_with('.') {
        return Err(NameError::Dot);
    }
    match name.chars().find(|char| *char == '/' || char.is_control()) {
        Some(char) => Err(NameError::Character(char)),
        None => Ok(()),
    }
}

/// Why a text is not a valid name of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The empty text.
    #[error("a certificate's name must not be empty")]
    Empty,
    /// More than 250 bytes.
    #[error("a certificate's name must not have more than 250 bytes")]
    TooLong,
    /// `.`, `..` and hidden files. Unit accepts such names, and then fails to write some of them.
    #[error("a certificate's name must not begin with a dot")]
    Dot,
    /// A slash or a control character.
    #[error("a certificate's name must not contain {0:?}")]
    Character(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_path_traversal_are_refused() {
        let long = "é".repeat(125);
        for name in [
            "a",
            "default",
            "Example.com",
            "*.example.com",
            "a b",
            "é\"\\",
            &long,
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for (name, error) in [
            ("", NameError::Empty),
            (".", NameError::Dot),
            ("..", NameError::Dot),
            (".hidden", NameError::Dot),
            ("../a", NameError::Dot),
            ("a/b", NameError::Character('/')),
            ("a/../../b", NameError::Character('/')),
            ("a\0", NameError::Character('\0')),
            ("a\nb", NameError::Character('\n')),
            ("a\u{85}", NameError::Character('\u{85}')),
            (&"a".repeat(251), NameError::TooLong),
        ] {
            assert_eq!(check_name(name), Err(error), "{name}");
        }
    }
}
