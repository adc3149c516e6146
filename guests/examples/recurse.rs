//! Recurses without end.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(_: IncomingRequest, out: ResponseOutparam) {
    guests::answer(out, format!("{}\n", deeper(0)));
}

fn deeper(depth: u64) -> u64 {
    if std::hint::black_box(depth) == u64::MAX {
        return 0;
    }
    std::hint::black_box(deeper(depth + 1)) + 1
}

guests::guest!(handle);
