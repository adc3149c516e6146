//! Where a guest may send requests to.

/// What an application's guests may call. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {}
