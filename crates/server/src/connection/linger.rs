//! Closes a connection in a way that lets the client read the last response, though bytes of it have
//! not been read: to close the socket then would reset it (RFC 9112, section 9.6).

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{sleep, timeout};

use super::client_io::ClientIo;
use crate::exchange::{MAX_DISCARDED, MAX_SILENCE};
use crate::listener::ShutdownSignal;

/// How long a client may continue to send.
const MAX_LINGER: Duration = Duration::from_secs(30);

/// Read at a time.
const DISCARDED_AT_ONCE: usize = 64 * 1024;

/// Pieces after which other tasks have their turn.
const PIECES_A_TURN: u32 = 16;

/// Shuts the sending side down, then reads and discards until the client closes the connection, for at
/// most [`MAX_LINGER`], or [`MAX_SILENCE`] after the listener has closed.
pub(crate) async fn linger(io: ClientIo, closing: &mut ShutdownSignal) {
    linger_for(MAX_LINGER, io, closing).await;
}

async fn linger_for(limit: Duration, mut io: ClientIo, closing: &mut ShutdownSignal) {
    // One that is reset has no orderly end.
    if io.is_reset() {
        return;
    }
    io.discard_read_ahead();
    let closes = async {
        closing.wait().await;
        sleep(MAX_SILENCE).await;
    };
    let linger = async {
        // With TLS it may have to wait for the client to take what is before it.
        io.shutdown().await?;
        discard(io.stream()).await
    };
    tokio::select! {
        biased;
        // Whatever ends it, there is nothing more to be done for this client.
        _ = timeout(limit, linger) => {}
        () = closes => {}
    }
}

async fn discard(stream: &sockets::Stream) -> io::Result<()> {
    let mut left = MAX_DISCARDED;
    while left > 0 {
        timeout(MAX_SILENCE, stream.readable()).await??;
        match discard_turn(stream, &mut left) {
            Ok(true) => return Ok(()),
            Ok(false) => tokio::task::yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads what is there, and returns whether that was the end. The buffer is not kept during a wait.
fn discard_turn(stream: &sockets::Stream, left: &mut u64) -> io::Result<bool> {
    let mut piece = BytesMut::with_capacity(DISCARDED_AT_ONCE);
    for _ in 0..PIECES_A_TURN {
        piece.clear();
        let length = stream.try_read_buf(&mut piece)?;
        if length == 0 {
            return Ok(true);
        }
        *left = left.saturating_sub(length as u64);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::Poll;

    use certificates::{Bundle, Certificates, ServerTls, TlsOptions};
    use rustls::pki_types::ServerName;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::AsyncWrite as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::connection::client_io::Socket;
    use crate::link::ConnectionState;
    use crate::socket::AcceptedSocket;

    const LONG: Duration = Duration::from_secs(20);

    /// A server's side and a client's side of a connection with TLS.
    async fn connect() -> (ClientIo, tokio_rustls::client::TlsStream<TcpStream>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let text = made.cert.pem() + &made.signing_key.serialize_pem();
        let bundle = Arc::new(Bundle::parse(text.as_bytes()).unwrap());
        let certificates: Certificates = [("a".to_owned(), bundle)].into_iter().collect();
        let tls = ServerTls::new(TlsOptions::new(["a"]), &certificates).unwrap();
        let mut roots = RootCertStore::empty();
        let pem = made.cert.pem();
        let certificate = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes());
        roots.add(certificate.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let connector = TlsConnector::from(Arc::new(config));
            connector.connect(name, stream).await.unwrap()
        };
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = AcceptedSocket::Tcp(stream.into_std().unwrap())
                .watched()
                .unwrap();
            let socket = Socket::new(stream, Duration::from_secs(600), ConnectionState::default());
            let acceptor = TlsAcceptor::from(Arc::clone(tls.config()));
            ClientIo::tls(acceptor.accept(socket).await.unwrap())
        };
        tokio::join!(server, client)
    }

    /// Writes until the client would have to read first.
    async fn fill(io: &mut ClientIo) {
        let piece = vec![0; 64 * 1024];
        let mut pauses = 0;
        while pauses < 10 {
            let write = poll_fn(|cx| Poll::Ready(Pin::new(&mut *io).poll_write(cx, &piece))).await;
            match write {
                Poll::Ready(written) => pauses = if written.unwrap() > 0 { 0 } else { pauses },
                Poll::Pending => {
                    pauses += 1;
                    sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_not_lingered_for_any_longer_with_tls() {
        let (mut io, _client) = connect().await;
        fill(&mut io).await;
        let (_listener, mut closing) = ShutdownSignal::of_a_listener();
        let linger = linger_for(Duration::from_millis(200), io, &mut closing);
        timeout(LONG, linger).await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_does_not_delay_a_graceful_shutdown_with_tls() {
        let (mut io, _client) = connect().await;
        fill(&mut io).await;
        let (listener, mut closing) = ShutdownSignal::of_a_listener();
        listener.send_replace(true);
        let linger = linger_for(Duration::from_secs(600), io, &mut closing);
        timeout(LONG, linger).await.unwrap();
    }
}
