//! Sends an outbound request whose body it writes itself, as the field `x-fetch` says: `METHOD URL`, then
//! `none` (no body), `text=TEXT` (the complete body), `late` (waits for the response before it writes) and
//! `te` (sends that field). Its response is the body of the one that it receives.

use guests::wasip2::http::outgoing_handler;
use guests::wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingRequest, ResponseOutparam, Scheme,
};
use guests::wasip2::io::streams::StreamError;

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let call = request.headers().get("x-fetch").remove(0);
    let call = String::from_utf8(call).unwrap();
    let words: Vec<&str> = call.split(' ').collect();
    let fields = Fields::new();
    if words.contains(&"te") {
        fields.append("te", b"trailers").unwrap();
    }
    let outgoing = OutgoingRequest::new(fields);
    let (authority, path) = guests::authority_and_path(words[1]);
    let method = Method::Other(words[0].to_owned());
    outgoing.set_method(&method).unwrap();
    outgoing.set_scheme(Some(&Scheme::Http)).unwrap();
    outgoing.set_authority(Some(authority)).unwrap();
    outgoing.set_path_with_query(Some(path)).unwrap();
    let body = (!words.contains(&"none")).then(|| outgoing.body().unwrap());
    let future = outgoing_handler::handle(outgoing, None).unwrap();
    if let Some(body) = body {
        if words.contains(&"late") {
            future.subscribe().block();
        }
        if let Some(text) = words.iter().find_map(|word| word.strip_prefix("text=")) {
            // The other side may answer before it has all.
            let _ = guests::write(&body, text.as_bytes());
        }
        let _ = OutgoingBody::finish(body, None);
    }
    future.subscribe().block();
    let response = match future.get().unwrap().unwrap() {
        Ok(response) => response,
        Err(code) => return guests::answer(out, format!("error: {code:?}\n")),
    };
    let incoming = response.consume().unwrap();
    let input = incoming.stream().unwrap();
    let mut text = Vec::new();
    loop {
        match input.blocking_read(64 * 1024) {
            Ok(piece) => text.extend(piece),
            Err(StreamError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    guests::answer(out, text);
}

guests::guest!(handle);
