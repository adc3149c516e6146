//! Sends the request's body back piece by piece as it arrives, then its trailers.

use guests::wasip2::http::types::{IncomingBody, IncomingRequest, OutgoingBody, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let fields = [
        ("content-type", "application/octet-stream"),
        ("trailer", "x-checksum"),
    ];
    let outgoing = guests::begin(out, 200, &fields);
    let (incoming, input) = guests::open(&request);
    let output = outgoing.write().unwrap();
    while let Ok(piece) = input.blocking_read(64 * 1024) {
        guests::write_to(&output, &piece).unwrap();
    }
    drop((input, output));
    let future = IncomingBody::finish(incoming);
    future.subscribe().block();
    let trailers = future.get().unwrap().unwrap().unwrap();
    // What came in is immutable; its copy is not.
    OutgoingBody::finish(outgoing, trailers.map(|trailers| trailers.clone())).unwrap();
}

guests::guest!(handle);
