//! Tries everything that it must not be able to do, and reports the result of each attempt.

use std::fmt::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _};

use guests_03::Answer;
use guests_03::wasip3::http::client;
use guests_03::wasip3::http::types::{Fields, Request, Scheme};
use guests_03::wasip3::wit_future;

async fn handle(_: Request) -> Answer {
    let attempts = [
        (
            "file",
            std::fs::read("/etc/passwd")
                .map(drop)
                .map_err(|error| error.to_string()),
        ),
        (
            "directory",
            std::fs::read_dir("/")
                .map(drop)
                .map_err(|error| error.to_string()),
        ),
        (
            "tcp",
            TcpStream::connect("127.0.0.1:80")
                .map(drop)
                .map_err(|error| error.to_string()),
        ),
        (
            "lookup",
            "localhost:80"
                .to_socket_addrs()
                .map(drop)
                .map_err(|error| error.to_string()),
        ),
        ("http", http().await),
    ];
    let mut text = String::new();
    for (name, result) in attempts {
        let _ = match result {
            Ok(()) => writeln!(text, "{name}: ok"),
            Err(error) => writeln!(text, "{name}: {error}"),
        };
    }
    guests_03::answer(text)
}

async fn http() -> Result<(), String> {
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let request = Request::new(Fields::new(), None, no_trailers, None).0;
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some("127.0.0.1:80")).unwrap();
    request.set_path_with_query(Some("/")).unwrap();
    let sent = client::send(request).await;
    sent.map(drop).map_err(|code| format!("{code:?}"))
}

guests_03::guest!(handle);
