//! Takes `?handles=N` handles at a time, twice, or puts `?fields=N` bytes into one set of fields, in two
//! values.

use guests::wasip2::http::types::{Fields, IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let query = guests::query(&request);
    for _ in 0..2 {
        let handles = guests::value(&query, "handles");
        let hoard: Vec<Fields> = (0..handles).map(|_| Fields::new()).collect();
        drop(std::hint::black_box(hoard));
    }
    let fields = Fields::new();
    let half = vec![b'x'; usize::try_from(guests::value(&query, "fields") / 2).unwrap()];
    let first = fields.append("x", &half);
    let second = fields.append("x", &half);
    let are_taken = first.and(second).is_ok();
    guests::answer(out, if are_taken { "taken\n" } else { "refused\n" });
}

guests::guest!(handle);
