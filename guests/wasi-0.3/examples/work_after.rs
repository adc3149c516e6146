//! Continues to work after its complete response, for `?MS` milliseconds, and prints a line then.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    let (response, mut body) = guests_03::begin(200, &[("content-type", "text/plain")]);
    guests_03::wasip3::spawn_local(async move {
        body.write(b"done\n").await;
        body.finish(None).await;
        guests_03::sleep(&query).await;
        println!("work after the response is done");
    });
    Ok(response)
}

guests_03::guest!(handle);
