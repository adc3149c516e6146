//! Announces 4 bytes and writes 9, `?MS` milliseconds later.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    let (response, mut body) = guests_03::begin(200, &[("content-length", "4")]);
    guests_03::wasip3::spawn_local(async move {
        guests_03::sleep(&query).await;
        // The host may refuse what is too much.
        body.write(b"123456789").await;
        body.finish(None).await;
    });
    Ok(response)
}

guests_03::guest!(handle);
