//! Responds with 14 bytes: the smallest guest, and the benchmarks' one.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(_: Request) -> Answer {
    let (response, body) = guests_03::begin(
        200,
        &[("content-type", "text/plain"), ("content-length", "14")],
    );
    guests_03::send(body, "Hello, world!\n");
    Ok(response)
}

guests_03::guest!(handle);
