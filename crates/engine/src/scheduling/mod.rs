//! Whose guest computes next.

pub(crate) mod fair_queue;
pub(crate) mod round_robin;
pub(crate) mod stopwatch;
