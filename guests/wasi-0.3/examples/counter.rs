//! Counts the requests that its instance has seen: always one.

use std::sync::atomic::{AtomicU64, Ordering};

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

static COUNT: AtomicU64 = AtomicU64::new(0);

async fn handle(_: Request) -> Answer {
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    guests_03::answer(format!("{count}\n"))
}

guests_03::guest!(handle);
