//! The beginning of a connection to a listener with TLS.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection::client_io::{ClientIo, Socket};
use crate::connection::protocol::{self, Opening};

/// What is read at a time until it is clear what the client speaks.
const READ_AT_ONCE: usize = 4 * 1024;

/// What a client of HTTP/2 asks for (RFC 9113, section 3.3).
const HTTP2: &[u8] = b"h2";

/// Shakes hands, and reads until it is clear what the client speaks. The caller bounds the time for it.
/// A client that speaks HTTP without TLS gets [`Opening::WithoutTls`].
///
/// A handshake that fails is answered with the alert that is for it (RFC 8446, section 6.2), and is
/// an error.
pub(crate) async fn begin(
    mut socket: Socket,
    config: Arc<ServerConfig>,
) -> io::Result<(ClientIo, Opening)> {
    let mut first = [0];
    if socket.read(&mut first).await? == 0 {
        return Ok((ClientIo::plain(socket), Opening::Closed));
    }
    socket.put_back(first[0]);
    // A method begins with a letter, and no record of TLS does (RFC 8446, section 5.1).
    if first[0].is_ascii_alphabetic() {
        return Ok((ClientIo::plain(socket), Opening::WithoutTls));
    }
    let mut stream = TlsAcceptor::from(config).accept(socket).await?;
    if stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
        return Ok((ClientIo::tls(stream), Opening::Http2));
    }
    let mut read_ahead = BytesMut::new();
    let more = poll_fn(|cx| poll_read_some(&mut stream, &mut read_ahead, cx));
    let opening = match more.await? {
        0 => Opening::Closed,
        _ => {
            stream.get_ref().0.note_read();
            tell(&mut stream, &mut read_ahead).await?
        }
    };
    opening.rewrite_version(&mut read_ahead);
    let mut io = ClientIo::tls(stream);
    io.put_back(read_ahead.freeze());
    Ok((io, opening))
}

/// Reads more than there is until it is clear what the client speaks.
async fn tell(stream: &mut TlsStream<Socket>, read_ahead: &mut BytesMut) -> io::Result<Opening> {
    loop {
        if let Some(opening) = protocol::tell(read_ahead) {
            return Ok(opening);
        }
        if poll_fn(|cx| poll_read_some(stream, read_ahead, cx)).await? == 0 {
            return Ok(protocol::at_end(read_ahead));
        }
    }
}

/// Waits for something to read and reads it, without a buffer before there is something; 0 at the
/// end.
pub(crate) fn poll_read_some(
    stream: &mut TlsStream<Socket>,
    buffer: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut piece = [0; READ_AT_ONCE];
    let mut piece = ReadBuf::new(&mut piece);
    ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
    buffer.extend_from_slice(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}
