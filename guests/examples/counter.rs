//! Counts the requests that its instance has seen: always one.

use std::sync::atomic::{AtomicU64, Ordering};

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

static COUNT: AtomicU64 = AtomicU64::new(0);

fn handle(_: IncomingRequest, out: ResponseOutparam) {
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    guests::answer(out, format!("{count}\n"));
}

guests::guest!(handle);
