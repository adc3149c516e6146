//! What a connection and its requests know of each other.

pub(crate) mod first_byte;
pub(crate) mod hang_up;
pub(crate) mod turn;
