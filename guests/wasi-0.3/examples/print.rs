//! Prints `?N` lines, and then answers.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    for line in 1..=guests_03::number(&guests_03::query(&request)) {
        println!("line {line}");
    }
    guests_03::answer("printed\n")
}

guests_03::guest!(handle);
