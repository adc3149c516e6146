//! Counts the requests that its instance has seen, after `?sleep=MS`; with `?trap` it traps then.

use std::sync::atomic::{AtomicU64, Ordering};

use guests_03::Answer;
use guests_03::wasip3::clocks::monotonic_clock::wait_for;
use guests_03::wasip3::http::types::Request;

static COUNT: AtomicU64 = AtomicU64::new(0);

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    wait_for(guests_03::value(&query, "sleep") * 1_000_000).await;
    assert!(
        query.iter().all(|word| word != "trap"),
        "the query asks for a trap"
    );
    guests_03::answer(format!("{count}\n"))
}

guests_03::guest!(handle);
