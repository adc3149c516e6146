//! Allocates memory without end.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(_: Request) -> Answer {
    let mut all: Vec<Vec<u8>> = Vec::new();
    while all.len() < 1 << 20 {
        all.push(vec![1; 1 << 20]);
    }
    guests_03::answer("a tebibyte\n")
}

guests_03::guest!(handle);
