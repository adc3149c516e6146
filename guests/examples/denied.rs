//! Tries everything that it must not be able to do, and reports the result of each attempt.

use std::fmt::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _};

use guests::wasip2::http::outgoing_handler;
use guests::wasip2::http::types::{
    Fields, IncomingRequest, OutgoingRequest, ResponseOutparam, Scheme,
};

fn handle(_: IncomingRequest, out: ResponseOutparam) {
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
        ("http", http()),
    ];
    let mut text = String::new();
    for (name, result) in attempts {
        let _ = match result {
            Ok(()) => writeln!(text, "{name}: ok"),
            Err(error) => writeln!(text, "{name}: {error}"),
        };
    }
    guests::answer(out, text);
}

fn http() -> Result<(), String> {
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some("127.0.0.1:80")).unwrap();
    request.set_path_with_query(Some("/")).unwrap();
    let future = outgoing_handler::handle(request, None).map_err(|code| format!("{code:?}"))?;
    future.subscribe().block();
    future
        .get()
        .unwrap()
        .unwrap()
        .map(drop)
        .map_err(|code| format!("{code:?}"))
}

guests::guest!(handle);
