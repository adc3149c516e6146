//! Fails in the way that the query names; with `?works&MS` begins a response, and ends it
//! after so many milliseconds.

use guests_03::Answer;
use guests_03::wasip3::http::types::{ErrorCode, Request};

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    match query.first().map(String::as_str) {
        Some("works") => works(query),
        Some("traps" | "is-silent") => panic!("a secret of the guest"),
        Some("exits") => std::process::exit(1),
        Some("has-an-error") => Err(ErrorCode::InternalError(None)),
        Some("is-short") => {
            let (response, body) = guests_03::begin(200, &[("content-length", "100")]);
            guests_03::send(body, "four");
            Ok(response)
        }
        Some("hoards") => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            loop {
                all.push(vec![1; 1 << 20]);
            }
        }
        Some("recurses") => guests_03::answer(format!("{}\n", deeper(0))),
        Some("spins") => {
            println!("it spins");
            loop {
                std::hint::black_box(());
            }
        }
        other => panic!("no such failure: {other:?}"),
    }
}

fn works(query: Vec<String>) -> Answer {
    let (response, mut body) = guests_03::begin(200, &[]);
    guests_03::wasip3::spawn_local(async move {
        body.write(b"at work\n").await;
        guests_03::sleep(&query).await;
        body.write(b"done\n").await;
        body.finish(None).await;
    });
    Ok(response)
}

fn deeper(depth: u64) -> u64 {
    if std::hint::black_box(depth) == u64::MAX {
        return 0;
    }
    std::hint::black_box(deeper(depth + 1)) + 1
}

guests_03::guest!(handle);
