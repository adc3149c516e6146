//! From a request to what answers it.

mod action;
mod metrics;
mod not_found;
mod pass;
mod router;
mod table;

pub use action::{Action, ActionKind, ResponseHeader, Return, Share};
pub use metrics::Metrics;
pub use pass::Pass;
pub(crate) use router::{Forward, Handler, PendingResponse, Routed, Router, notice};
pub use table::{Steps, Table};
