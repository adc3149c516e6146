//! Tries fields that no guest may set, and reports the result of each attempt.

use std::fmt::Write as _;

use guests::wasip2::http::types::{Fields, IncomingRequest, ResponseOutparam};

fn handle(_: IncomingRequest, out: ResponseOutparam) {
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
        let _ = writeln!(text, "{name}: {result:?}");
    }
    guests::answer(out, text);
}

guests::guest!(handle);
