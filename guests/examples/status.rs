//! Responds with the status of the query: `?CODE`, with a body `?CODE&body`.

use guests::wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let query = guests::query(&request);
    let status = u16::try_from(guests::number(&query)).unwrap();
    if query.iter().any(|word| word == "body") {
        let body = guests::begin(out, status, &[]);
        // Where there is no place for a body, the host may not take it.
        let _ = guests::write(&body, b"body\n");
        let _ = OutgoingBody::finish(body, None);
    } else {
        let response = OutgoingResponse::new(Fields::new());
        response.set_status_code(status).unwrap();
        ResponseOutparam::set(out, Ok(response));
    }
}

guests::guest!(handle);
