//! Takes `?handles=N` handles at a time, twice, or puts `?fields=N` bytes into one set of fields, in two
//! values.

use guests_03::Answer;
use guests_03::wasip3::http::types::{Fields, Request};

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    for _ in 0..2 {
        let handles = guests_03::value(&query, "handles");
        let hoard: Vec<Fields> = (0..handles).map(|_| Fields::new()).collect();
        drop(std::hint::black_box(hoard));
    }
    let fields = Fields::new();
    let half = vec![b'x'; usize::try_from(guests_03::value(&query, "fields") / 2).unwrap()];
    let first = fields.append("x", &half);
    let second = fields.append("x", &half);
    let are_taken = first.and(second).is_ok();
    guests_03::answer(if are_taken { "taken\n" } else { "refused\n" })
}

guests_03::guest!(handle);
