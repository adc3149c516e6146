//! The response of a guest on its way to whoever sends it on.

pub(crate) mod body;
pub(crate) mod outgoing;
