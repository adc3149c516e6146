//! The guest in Rust, on wstd.

use std::sync::atomic::{AtomicU32, Ordering};

use wstd::http::{Body, Error, Method, Request, Response, StatusCode};

static REQUESTS: AtomicU32 = AtomicU32::new(0);

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let requests = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
    let mut status = StatusCode::OK;
    let body = match *request.method() {
        Method::GET => "Hello, world!\n".into(),
        Method::POST => request.into_body(),
        _ => {
            status = StatusCode::METHOD_NOT_ALLOWED;
            Body::empty()
        }
    };
    let response = Response::builder()
        .status(status)
        .header("x-requests", requests)
        .body(body)?;
    Ok(response)
}
