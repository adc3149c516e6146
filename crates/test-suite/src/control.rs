//! Requests to the control API, over its Unix socket.

use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::{Client, LONG};

/// One request to the control API, on a connection of its own.
pub(crate) fn request(socket: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    let stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) => panic!("the control socket {}: {error}", socket.display()),
    };
    // A change compiles the components that are new.
    let mut client = Client::over(stream).with_deadline(LONG);
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let response = client.response();
    (response.head.status, response.text().to_owned())
}
