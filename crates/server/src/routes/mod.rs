//! From a request to what answers it.

pub(crate) mod action;
pub(crate) mod metrics;
pub(crate) mod router;
pub(crate) mod table;
