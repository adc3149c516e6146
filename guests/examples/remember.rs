//! Counts the requests that its instance has seen, after `?sleep=MS`; with `?trap` it traps then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

static COUNT: AtomicU64 = AtomicU64::new(0);

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let query = guests::query(&request);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    std::thread::sleep(Duration::from_millis(guests::value(&query, "sleep")));
    assert!(
        query.iter().all(|word| word != "trap"),
        "the query asks for a trap"
    );
    guests::answer(out, format!("{count}\n"));
}

guests::guest!(handle);
