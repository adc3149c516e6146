//! One request, from its head to its response.

pub(crate) mod client_body;
pub(crate) mod gathering;
pub(crate) mod request_body;
pub(crate) mod upstream;
