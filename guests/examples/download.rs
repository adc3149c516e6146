//! Sends as many bytes as the query says: `?N`, with a length `?N&length`.

use guests::wasip2::http::types::{IncomingRequest, OutgoingBody, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let query = guests::query(&request);
    let size = guests::number(&query);
    let length = size.to_string();
    let fields: &[_] = if query.iter().any(|word| word == "length") {
        &[("content-length", length.as_str())]
    } else {
        &[]
    };
    let body = guests::begin(out, 200, fields);
    let stream = body.write().unwrap();
    // Byte i of the body is i % 251: a period and a half, so that any start of one fits.
    let pattern: Vec<u8> = (0..251 * 512).map(|i: u32| (i % 251) as u8).collect();
    let mut sent = 0;
    while sent < size {
        let start = (sent % 251) as usize;
        let most = (pattern.len() - start).min(usize::try_from(size - sent).unwrap_or(usize::MAX));
        // As much as the host takes without being waited for.
        let permit = loop {
            match stream.check_write() {
                Ok(0) => stream.subscribe().block(),
                Ok(permit) => break permit as usize,
                // The client is gone.
                Err(_) => return,
            }
        };
        let most = most.min(permit);
        stream.write(&pattern[start..start + most]).unwrap();
        sent += most as u64;
    }
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

guests::guest!(handle);
