/// Checks the name of a bundle: what stands after `/certificates/`, and in a listener's
/// `certificate`.
///
/// A name is the name of a file, too. It has 1 to 250 bytes, does not begin with a dot, and has
/// neither a slash nor control characters. It may have upper case, and is compared as it stands.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    // Files have 255 at most; one that is being written has a dot before and ".tmp" after it.
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

/// A text that names no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is none.
    #[error("a certificate's name is not empty")]
    Empty,
    /// More than 250 bytes.
    #[error("a certificate's name has at most 250 bytes")]
    TooLong,
    /// `.`, `..`, and what hides in listings. Unit takes such names, and fails to write some.
    #[error("a certificate's name does not begin with a dot")]
    Dot,
    /// A slash or a control character.
    #[error("a certificate's name has no {0:?}")]
    Character(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files() {
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
