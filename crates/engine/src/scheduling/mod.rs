//! Fair scheduling of guests by processor time: deficit round robin on the threads that serve, start-time fair
//! queueing in the background, and the measurement that both charge by. How long a guest may compute in one turn
//! is not decided here, but by the engine's epoch.

pub(crate) mod cpu_share;
pub(crate) mod fair_queue;
pub(crate) mod round_robin;
pub(crate) mod stopwatch;
