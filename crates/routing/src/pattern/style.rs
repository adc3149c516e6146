//! How the patterns of a property are written and compared.

/// How patterns of a property are written and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) case: Case,
    pub(crate) encoding: Encoding,
}

/// What is done about case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Sensitive,
    /// The value is in lower case; the pattern is made so.
    Lower,
    /// The value is in upper case; the pattern is made so.
    Upper,
    /// Neither is.
    Insensitive,
}

/// What of the pattern is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    None,
    Percent,
    /// And `+` is a space.
    PercentPlus,
}
