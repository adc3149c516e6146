//! Responses, by whatever they were made.

pub(crate) mod body;
pub(crate) mod end_delay;
pub(crate) mod head;
pub(crate) mod page;
