//! How the patterns of a property are written and compared.

/// How the patterns of a property are written and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) case: Case,
    pub(crate) encoding: Encoding,
}

/// How case is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Sensitive,
    /// The value is in lower case; the pattern is converted to it.
    Lower,
    /// The value is in upper case; the pattern is converted to it.
    Upper,
    /// Compared without regard to case.
    Insensitive,
}

/// How the pattern is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    None,
    Percent,
    /// Like `Percent`, and `+` is a space.
    PercentPlus,
}
