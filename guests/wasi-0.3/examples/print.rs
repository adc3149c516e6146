//! Prints `?N` lines, then responds.

use guests_03::Answer;
use guests_03::wasip3::cli::stdout;
use guests_03::wasip3::http::types::Request;
use guests_03::wasip3::wit_stream;

async fn handle(request: Request) -> Answer {
    // Not by `println!`, which is of WASI 0.2 still.
    let (mut output, text) = wit_stream::new();
    let printed = stdout::write_via_stream(text);
    for line in 1..=guests_03::number(&guests_03::query(&request)) {
        output
            .write_all(format!("line {line}\n").into_bytes())
            .await;
    }
    drop(output);
    printed.await.unwrap();
    guests_03::answer("printed\n")
}

guests_03::guest!(handle);
