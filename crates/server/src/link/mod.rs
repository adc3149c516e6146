//! The state of one connection, below all that serves it: what its socket, its driver and its requests
//! know of each other.

mod drain_queue;
mod first_byte;
mod gather_orders;
mod hang_up;
mod idle_notice;
mod state;
mod turn;

pub(crate) use drain_queue::{CloseQueue, DrainQueue, Drained, UnreadBody};
pub(crate) use gather_orders::{Gather, MAX_GATHERED};
pub(crate) use hang_up::CHECK_INTERVAL;
pub(crate) use state::{ConnectionState, InFlightGuard};
