//! Reads one piece of the body and leaves the rest.

use guests_03::wasip3::http::types::Request;
use guests_03::{Answer, Incoming};

async fn handle(request: Request) -> Answer {
    let piece = Incoming::of(request).read(16 * 1024).await;
    let length = piece.map_or(0, |piece| piece.len());
    guests_03::answer(format!("{length}\n"))
}

guests_03::guest!(handle);
