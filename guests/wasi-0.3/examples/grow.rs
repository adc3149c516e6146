//! Allocates `?N` MiB of memory, if it can.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    let size = guests_03::number(&guests_03::query(&request)) << 20;
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
    guests_03::answer(text)
}

guests_03::guest!(handle);
