//! Sends the body back without reading it: the host forwards it.

use guests_03::wasip3::http::types::{Fields, Request, Response};
use guests_03::{Answer, Incoming};

async fn handle(request: Request) -> Answer {
    let (body, end) = Incoming::of(request).into_parts();
    Ok(Response::new(Fields::new(), Some(body), end).0)
}

guests_03::guest!(handle);
