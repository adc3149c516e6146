//! Tries fields that no guest may set, and reports the result of each attempt.

use std::fmt::Write as _;

use guests_03::Answer;
use guests_03::wasip3::http::types::{Fields, HeaderError, Request};

async fn handle(_: Request) -> Answer {
    let attempts: [(&str, &str); 6] = [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("host", "elsewhere"),
        ("bad name", "x"),
        ("x", "a\r\nb: c"),
        ("content-length", "+5"),
    ];
    let mut text = String::new();
    for (name, value) in attempts {
        let result = Fields::new().append(name, value.as_bytes());
        let result = result.map_err(|error| match error {
            HeaderError::InvalidSyntax => "HeaderError::InvalidSyntax",
            HeaderError::Forbidden => "HeaderError::Forbidden",
            _ => "HeaderError",
        });
        let _ = match result {
            Ok(()) => writeln!(text, "{name}: Ok(())"),
            Err(error) => writeln!(text, "{name}: Err({error})"),
        };
    }
    guests_03::answer(text)
}

guests_03::guest!(handle);
