//! The TLS handshake of a new connection. Which certificate is sent for an SNI name is decided by the
//! `rustls::ServerConfig` (crate `certificates`).

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::ServerConfig;
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_io::{ClientIo, Socket, poll_read_some};
use super::protocol::{self, Protocol};

/// What a client of HTTP/2 asks for (RFC 9113, section 3.3).
const HTTP2: &[u8] = b"h2";

/// Shakes hands, and reads until it is clear what the client speaks. The caller bounds the time for it.
/// A client that speaks HTTP without TLS gets [`Protocol::WithoutTls`].
///
/// A handshake that fails is answered with the alert that is for it (RFC 8446, section 6.2), and is
/// an error.
pub(crate) async fn begin(
    mut socket: Socket,
    config: Arc<ServerConfig>,
) -> io::Result<(ClientIo, Protocol)> {
    let mut first = [0];
    if socket.read(&mut first).await? == 0 {
        return Ok((ClientIo::plain(socket), Protocol::Closed));
    }
    socket.unread(first[0]);
    // A method begins with a letter, and no record of TLS does (RFC 8446, section 5.1).
    if first[0].is_ascii_alphabetic() {
        return Ok((ClientIo::plain(socket), Protocol::WithoutTls));
    }
    let mut stream = TlsAcceptor::from(config).accept(socket).await?;
    if stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
        return Ok((ClientIo::tls(stream), Protocol::Http2));
    }
    let mut read_ahead = BytesMut::new();
    let more = poll_fn(|cx| poll_read_some(&mut stream, &mut read_ahead, cx));
    let protocol = match more.await? {
        0 => Protocol::Closed,
        _ => {
            stream.get_ref().0.note_read();
            sniff(&mut stream, &mut read_ahead).await?
        }
    };
    protocol.rewrite_version(&mut read_ahead);
    let mut io = ClientIo::tls(stream);
    io.unread(read_ahead.freeze());
    Ok((io, protocol))
}

/// Reads on until the protocol is clear.
async fn sniff(stream: &mut TlsStream<Socket>, read_ahead: &mut BytesMut) -> io::Result<Protocol> {
    loop {
        if let Some(protocol) = protocol::sniff(read_ahead) {
            return Ok(protocol);
        }
        if poll_fn(|cx| poll_read_some(stream, read_ahead, cx)).await? == 0 {
            return Ok(protocol::at_end(read_ahead));
        }
    }
}
