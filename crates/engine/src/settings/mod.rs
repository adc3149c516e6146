//! What an application is made with.

pub(crate) mod authority;
