//! The guest in Rust, on the bindings of WASI 0.3.

use std::sync::atomic::{AtomicU32, Ordering};

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

wasip3::http::service::export!(Handler);

static REQUESTS: AtomicU32 = AtomicU32::new(0);

struct Handler;

impl Guest for Handler {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let requests = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let fields = Fields::new();
        fields
            .append("x-requests", requests.to_string().as_bytes())
            .map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;

        let (_, no_trailers) = wit_future::new(|| Ok(None));
        let response = match request.get_method() {
            Method::Get => {
                let (mut sender, body) = wit_stream::new();
                spawn_local(async move {
                    // The rest is what a client that has left does not take.
                    let _rest = sender.write_all(b"Hello, world!\n".to_vec()).await;
                });
                Response::new(fields, Some(body), no_trailers).0
            }
            Method::Post => {
                // What comes in goes out, without a detour through the guest's memory.
                let (_, taken) = wit_future::new(|| Ok(()));
                let (body, trailers) = Request::consume_body(request, taken);
                Response::new(fields, Some(body), trailers).0
            }
            _ => {
                let response = Response::new(fields, None, no_trailers).0;
                let _ = response.set_status_code(405);
                response
            }
        };
        Ok(response)
    }
}
