//! Answers as raw bytes.

use std::io::Read as _;
use std::net::TcpStream;

use anyhow::{Context as _, Result, bail};

/// Reads an answer to its end.
///
/// # Errors
///
/// When it is not a whole 200.
pub(crate) fn read(stream: &mut TcpStream) -> Result<()> {
    read_whole(stream).map(drop)
}

/// Reads an answer to its end, and gives it as it came, head and framing included.
///
/// # Errors
///
/// When it is not a whole 200.
pub(crate) fn read_whole(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            bail!("the connection ended before its answer");
        }
        text.extend_from_slice(&piece[..length]);
        if is_whole(&text)? {
            return Ok(text);
        }
    }
}

fn is_whole(text: &[u8]) -> Result<bool> {
    let Some(head) = text.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let (head, body) = text.split_at(head + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        bail!("the answer is {head}");
    }
    if head.contains("transfer-encoding: chunked") {
        return Ok(body.ends_with(b"0\r\n\r\n"));
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length
        .and_then(|text| text.trim().parse().ok())
        .with_context(|| format!("the answer has no length: {head}"))?;
    Ok(body.len() >= length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_framing_says_so() {
        let length = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        assert!(is_whole(length).unwrap());
        assert!(!is_whole(&length[..length.len() - 1]).unwrap());
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        assert!(is_whole(chunked).unwrap());
        assert!(!is_whole(&chunked[..chunked.len() - 5]).unwrap());
        assert!(is_whole(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(is_whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
