//! Reads one piece of the body and leaves the rest unread; with `?keep`, it keeps the body for as long as the
//! instance lives.

use guests_03::wasip3::http::types::Request;
use guests_03::{Answer, Incoming};

async fn handle(request: Request) -> Answer {
    let keeps = guests_03::query(&request).iter().any(|word| word == "keep");
    let mut body = Incoming::of(request);
    let piece = body.read(16 * 1024).await;
    if keeps {
        std::mem::forget(body);
    }
    let length = piece.map_or(0, |piece| piece.len());
    guests_03::answer(format!("{length}\n"))
}

guests_03::guest!(handle);
