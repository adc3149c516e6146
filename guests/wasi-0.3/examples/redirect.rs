//! Redirects to a path of its own authority, which it gets through the crate `http`.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;
use guests_03::wasip3::http_compat::{http_from_wasi_request, http_into_wasi_request};

async fn handle(request: Request) -> Answer {
    let request = http_from_wasi_request(request)?;
    let authority = request.uri().authority().unwrap();
    let location = format!("http://{authority}/next");
    // As one that is sent on: the conversion fails where `host` and the authority differ.
    drop(http_into_wasi_request(request.map(|_| String::new()))?);
    Ok(guests_03::empty(302, &[("location", &location)]))
}

guests_03::guest!(handle);
