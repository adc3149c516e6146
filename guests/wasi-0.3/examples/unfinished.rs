//! Leaves its body unfinished: `?leak` or `?drop`, after `&MS` milliseconds.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    let (response, mut body) = guests_03::begin(200, &[]);
    guests_03::wasip3::spawn_local(async move {
        body.write(b"partial").await;
        guests_03::sleep(&query).await;
        if query.iter().any(|word| word == "leak") {
            std::mem::forget(body);
        } else {
            drop(body);
        }
    });
    Ok(response)
}

guests_03::guest!(handle);
