//! Computes for `?before=MS` before its response, and for `?after=MS` within it.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    guests_03::compute(guests_03::value(&query, "before"));
    let (response, mut body) = guests_03::begin(200, &[]);
    guests_03::wasip3::spawn_local(async move {
        body.write(b"computing\n").await;
        guests_03::compute(guests_03::value(&query, "after"));
        body.write(b"computed\n").await;
        body.finish(None).await;
    });
    Ok(response)
}

guests_03::guest!(handle);
