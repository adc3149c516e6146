//! Sends the body back without reading it: the host forwards it.

use guests::wasip2::http::types::{IncomingBody, IncomingRequest, OutgoingBody, ResponseOutparam};
use guests::wasip2::io::streams::StreamError;

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let outgoing = guests::begin(out, 200, &[]);
    let (incoming, input) = guests::open(&request);
    let output = outgoing.write().unwrap();
    loop {
        match output.blocking_splice(&input, 64 * 1024) {
            Ok(_) => {}
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => panic!("{error:?}"),
        }
    }
    drop((input, output));
    drop(IncomingBody::finish(incoming));
    OutgoingBody::finish(outgoing, None).unwrap();
}

guests::guest!(handle);
