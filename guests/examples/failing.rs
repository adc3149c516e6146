//! Fails in the way that the query names; with `?works&MS` begins a response, and ends it
//! after so many milliseconds.

use guests::wasip2::http::types::{ErrorCode, IncomingRequest, OutgoingBody, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let query = guests::query(&request);
    match query.first().map(String::as_str) {
        Some("works") => works(&query, out),
        Some("traps") => panic!("a secret of the guest"),
        Some("exits") => std::process::exit(1),
        Some("is-silent") => {}
        Some("has-an-error") => {
            ResponseOutparam::set(out, Err(ErrorCode::InternalError(None)));
        }
        Some("is-short") => {
            let body = guests::begin(out, 200, &[("content-length", "100")]);
            guests::write(&body, b"four").unwrap();
            // It is too short, and the host says so.
            let _ = OutgoingBody::finish(body, None);
        }
        Some("hoards") => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            loop {
                all.push(vec![1; 1 << 20]);
            }
        }
        Some("recurses") => guests::answer(out, format!("{}\n", deeper(0))),
        Some("spins") => {
            println!("it spins");
            loop {
                std::hint::black_box(());
            }
        }
        other => panic!("no such failure: {other:?}"),
    }
}

fn works(query: &[String], out: ResponseOutparam) {
    let body = guests::begin(out, 200, &[]);
    let stream = body.write().unwrap();
    guests::write_to(&stream, b"at work\n").unwrap();
    guests::sleep(query);
    guests::write_to(&stream, b"done\n").unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

fn deeper(depth: u64) -> u64 {
    if std::hint::black_box(depth) == u64::MAX {
        return 0;
    }
    std::hint::black_box(deeper(depth + 1)) + 1
}

guests::guest!(handle);
