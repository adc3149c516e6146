//! Counts the bytes of the request.

use guests_03::wasip3::http::types::Request;
use guests_03::{Answer, Incoming};

async fn handle(request: Request) -> Answer {
    let mut body = Incoming::of(request);
    let mut count = 0;
    while let Some(piece) = body.read(64 * 1024).await {
        count += piece.len();
    }
    guests_03::answer(match body.finish().await {
        Ok(_) => format!("{count}\n"),
        Err(code) => format!("error: {code:?} after {count}\n"),
    })
}

guests_03::guest!(handle);
