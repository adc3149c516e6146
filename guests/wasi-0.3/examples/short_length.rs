//! Announces 10 bytes and writes 4, or none: `?finish`, `?drop` or `?none`, after `&MS` milliseconds.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    let has = |wanted: &str| query.iter().any(|word| word == wanted);
    let (drops, writes) = (has("drop"), !has("none"));
    let (response, mut body) = guests_03::begin(200, &[("content-length", "10")]);
    guests_03::wasip3::spawn_local(async move {
        if writes {
            body.write(b"four").await;
        }
        guests_03::sleep(&query).await;
        if drops {
            drop(body);
        } else {
            body.finish(None).await;
        }
    });
    Ok(response)
}

guests_03::guest!(handle);
