//! Allocates `?N` MiB of memory, if it can.

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let size = guests::number(&guests::query(&request)) << 20;
    let size = usize::try_from(size).unwrap();
    let mut memory: Vec<u8> = Vec::new();
    let text = match memory.try_reserve_exact(size) {
        Ok(()) => {
            memory.resize(size, 1);
            std::hint::black_box(&memory);
            "grown\n"
        }
        Err(_) => "refused\n",
    };
    guests::answer(out, text);
}

guests::guest!(handle);
