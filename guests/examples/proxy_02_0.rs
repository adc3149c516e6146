//! Responds through the bindings of WASI 0.2.0, the oldest point release.

use wasi_02_0::exports::http::incoming_handler::Guest;
use wasi_02_0::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Old;

wasi_02_0::http::proxy::export!(Old with_types_in wasi_02_0);

impl Guest for Old {
    fn handle(_: IncomingRequest, out: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        stream
            .blocking_write_and_flush(b"Hello, old world!\n")
            .unwrap();
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}
