//! Connections with TLS: how they begin, rest and end.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certificates::{Bundle, Certificates, ServerTls, TlsOptions};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use server::Timeouts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{
    PATIENT, Running, SHORT, assert_timed_out, ends_with_body, parked, read_to_end, run,
    start_with_tls,
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const LAST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const LONG: Duration = Duration::from_secs(20);

/// The first bytes of a ClientHello.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// A server with TLS, and clients that trust it.
pub(crate) struct Tls {
    pub(crate) running: Running,
    connector: TlsConnector,
}

impl Tls {
    pub(crate) async fn start(guest: &str, timeouts: Timeouts) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let text = made.cert.pem() + &made.signing_key.serialize_pem();
        let bundle = Arc::new(Bundle::parse(text.as_bytes()).unwrap());
        let certificates: Certificates = [("a".to_owned(), bundle)].into_iter().collect();
        let tls = ServerTls::new(TlsOptions::new(["a"]), &certificates).unwrap();
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            running: start_with_tls(guest, timeouts, Arc::clone(tls.config())).await,
            connector: TlsConnector::from(Arc::new(config)),
        }
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.running.address).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        let name = ServerName::try_from("localhost").unwrap();
        let handshake = self.connector.connect(name, self.tcp().await);
        timeout(LONG, handshake).await.unwrap().unwrap()
    }
}

/// All that comes, and whether a `close_notify` says that it is all.
pub(crate) async fn all(stream: &mut TlsStream<TcpStream>) -> (String, bool) {
    let mut received = Vec::new();
    let read = timeout(LONG, stream.read_to_end(&mut received));
    let is_complete = match read.await.unwrap() {
        Ok(_) => true,
        Err(error) => {
            let cut_off = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
            assert!(cut_off.contains(&error.kind()), "{error}");
            false
        }
    };
    (String::from_utf8(received).unwrap(), is_complete)
}

async fn greeted(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(REQUEST).await.unwrap();
    let mut text = String::new();
    while !ends_with_body(&text, "Hello, world!\n") {
        let mut piece = [0; 4096];
        let length = timeout(LONG, stream.read(&mut piece)).await.unwrap();
        let length = length.unwrap();
        assert!(length > 0, "the connection ended after {text:?}");
        text.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
}

#[test]
fn an_orderly_end_has_a_close_notify() {
    run(async {
        let tls = Tls::start("hello", PATIENT).await;
        let mut stream = tls.connect().await;
        greeted(&mut stream).await;
        stream.write_all(LAST_REQUEST).await.unwrap();
        let (text, is_complete) = all(&mut stream).await;
        assert!(ends_with_body(&text, "Hello, world!\n"), "{text}");
        assert!(is_complete);
        // So is a refusal.
        let mut stream = tls.connect().await;
        stream.write_all(b"GET / HTTP/3.0\r\n\r\n").await.unwrap();
        let (text, is_complete) = all(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 505 "), "{text}");
        assert!(is_complete);
    });
}

#[test]
fn a_response_that_is_cut_off_is_no_orderly_end() {
    run(async {
        let tls = Tls::start("trap_after_headers", PATIENT).await;
        for version in ["1.0", "1.1"] {
            let mut stream = tls.connect().await;
            let request = format!("GET /?50 HTTP/{version}\r\nhost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let (text, is_complete) = all(&mut stream).await;
            assert!(text.contains("partial"), "{text}");
            assert!(!is_complete, "HTTP/{version}");
        }
    });
}

#[test]
fn a_handshake_has_the_time_of_a_header_and_no_more() {
    run(async {
        let timeouts = Timeouts {
            header_read: SHORT * 3,
            idle: SHORT,
            ..PATIENT
        };
        let tls = Tls::start("hello", timeouts).await;
        for begun in [&b""[..], &HELLO[..1], HELLO] {
            let mut stream = tls.tcp().await;
            stream.write_all(begun).await.unwrap();
            let started = Instant::now();
            assert_eq!(read_to_end(&mut stream).await, "");
            assert!(started.elapsed() >= SHORT / 2, "{begun:?}");
        }
        // That is for the first request, too.
        let mut silent = tls.connect().await;
        assert_eq!(all(&mut silent).await.0, "");
        for (is_new, begun) in [
            (true, &REQUEST[..20]),
            (false, b""),
            (false, &REQUEST[..20]),
        ] {
            let mut stream = tls.connect().await;
            if !is_new {
                greeted(&mut stream).await;
            }
            stream.write_all(begun).await.unwrap();
            let (text, is_complete) = all(&mut stream).await;
            assert_timed_out(&text);
            assert!(is_complete, "{begun:?}");
        }
    });
}

#[test]
fn slow_handshakes_do_not_delay_other_connections() {
    run(async {
        let tls = Tls::start("hello", PATIENT).await;
        let mut slow = Vec::new();
        for _ in 0..10 {
            let mut stream = tls.tcp().await;
            stream.write_all(HELLO).await.unwrap();
            slow.push(stream);
        }
        greeted(&mut tls.connect().await).await;
        assert_eq!(tls.running.server.connections().accepted, 11);
        // They are not waited for at the end, either.
        timeout(LONG, tls.running.server.drain()).await.unwrap();
    });
}

#[test]
fn a_parked_connection_serves_as_before() {
    run(async {
        let timeouts = Timeouts {
            park_after: SHORT / 10,
            idle: SHORT * 10,
            ..PATIENT
        };
        let tls = Tls::start("hello", timeouts).await;
        let mut stream = tls.connect().await;
        for _ in 0..4 {
            greeted(&mut stream).await;
            greeted(&mut stream).await;
            parked(&tls.running.server).await;
        }
        // With a request that comes in two records.
        let (begun, left) = REQUEST.split_at(7);
        stream.write_all(begun).await.unwrap();
        stream.flush().await.unwrap();
        sleep(SHORT).await;
        stream.write_all(left).await.unwrap();
        let mut piece = [0; 4096];
        assert!(stream.read(&mut piece).await.unwrap() > 0);
        assert_eq!(tls.running.server.requests(), 9);
        assert_eq!(tls.running.server.connections().accepted, 1);
        let begun = Instant::now();
        let (text, is_complete) = all(&mut stream).await;
        assert_timed_out(&text);
        assert!(is_complete);
        assert!(begun.elapsed() > SHORT * 5, "{:?}", begun.elapsed());
    });
}

#[test]
fn a_client_that_does_not_read_is_reset() {
    run(async {
        let timeouts = Timeouts {
            send: SHORT,
            ..PATIENT
        };
        let tls = Tls::start("download", timeouts).await;
        let mut stream = tls.connect().await;
        let request = b"GET /?100000000 HTTP/1.1\r\nhost: a\r\n\r\n";
        stream.write_all(request).await.unwrap();
        while tls.running.server.connections().closed == 0 {
            sleep(SHORT / 10).await;
        }
        let mut received = Vec::new();
        let end = timeout(LONG, stream.read_to_end(&mut received))
            .await
            .unwrap();
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(tls.running.application.active(), 0);
    });
}

#[test]
fn one_that_reads_slowly_gets_all() {
    run(async {
        let timeouts = Timeouts {
            send: SHORT * 2,
            ..PATIENT
        };
        let tls = Tls::start("download", timeouts).await;
        let mut stream = tls.connect().await;
        let request = b"GET /?3000000&length HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut received = 0;
        let mut piece = vec![0; 200_000];
        loop {
            sleep(SHORT / 10).await;
            match stream.read(&mut piece).await.unwrap() {
                0 => break,
                length => received += length,
            }
        }
        assert!(received > 3_000_000, "{received}");
    });
}

#[test]
fn plain_http_on_a_tls_listener_is_refused() {
    run(async {
        let tls = Tls::start("hello", PATIENT).await;
        for request in [REQUEST, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut stream = tls.tcp().await;
            stream.write_all(request).await.unwrap();
            stream.shutdown().await.unwrap();
            let text = read_to_end(&mut stream).await;
            let line = "HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n";
            assert!(text.starts_with(line), "{text}");
            assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
            assert!(text.ends_with("<p>Error 400.\r\n"), "{text}");
        }
        for garbage in [
            &b"\0\0\0\0\0\0\0\0"[..],
            b"\x16\x03\x01\xff\xff",
            &[0x80; 600],
        ] {
            let mut stream = tls.tcp().await;
            stream.write_all(garbage).await.unwrap();
            stream.shutdown().await.unwrap();
            // An alert, if there is enough to be alarmed about.
            let mut received = Vec::new();
            let read = timeout(LONG, stream.read_to_end(&mut received))
                .await
                .unwrap();
            assert!(read.is_ok_and(|length| length <= 7), "{received:?}");
        }
        greeted(&mut tls.connect().await).await;
        assert_eq!(tls.running.server.requests(), 1);
    });
}
