//! Traps in the middle of its response, `?MS` milliseconds after its first bytes; after its
//! end with `&finished`.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    let has = |wanted: &str| query.iter().any(|word| word == wanted);
    let fields: &[_] = if has("length=100") {
        &[("content-length", "100")]
    } else {
        &[]
    };
    let finishes = has("finished");
    let (response, mut body) = guests_03::begin(200, fields);
    guests_03::wasip3::spawn_local(async move {
        body.write(b"partial").await;
        if finishes {
            body.finish(None).await;
            guests_03::sleep(&query).await;
            panic!("a secret of the guest");
        }
        guests_03::sleep(&query).await;
        panic!("a secret of the guest");
    });
    Ok(response)
}

guests_03::guest!(handle);
