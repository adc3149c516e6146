//! TLS, and HTTP/2 over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outbound::{BoxError, Client, Error, Options, Timeouts};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::support::{full, get, pieces, policy, post, text, until, within, written};

struct Secure {
    port: u16,
    certificate: CertificateDer<'static>,
    handshakes: Arc<AtomicUsize>,
    /// Requests that get no response.
    waiting: Arc<AtomicUsize>,
    /// Ends a connection.
    end: Arc<Notify>,
}

/// Sends back what it is sent, and in `x-version` and `x-host` how and to whom.
async fn echo(
    request: Request<Incoming>,
    waiting: Arc<AtomicUsize>,
) -> Result<Response<Incoming>, BoxError> {
    match request.uri().path() {
        "/giant" => {
            let giant = Response::builder().header("x-giant", "a".repeat(100_000));
            return Ok(giant.body(request.into_body())?);
        }
        path @ ("/256" | "/257") => {
            // hyper adds the date.
            let fields = path[1..].parse::<usize>()? - 1;
            let mut response = Response::builder();
            for _ in 0..fields {
                response = response.header("a", "b");
            }
            return Ok(response.body(request.into_body())?);
        }
        "/wait" => {
            waiting.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        "/fail" => return Err("no response".into()),
        _ => {}
    }
    let version = format!("{:?}", request.version());
    let host = match request.headers().get("host") {
        Some(host) => host.to_str().unwrap().to_owned(),
        None => request.uri().authority().unwrap().to_string(),
    };
    let mut response = Response::builder()
        .header("x-version", version)
        .header("x-host", host)
        .header("x-end", request.body().is_end_stream().to_string());
    for name in ["te", "connection", "content-length"] {
        for value in request.headers().get_all(name) {
            response = response.header(format!("x-{name}"), value);
        }
    }
    Ok(response.body(request.into_body()).unwrap())
}

impl Secure {
    /// A server with a certificate for these names.
    async fn start(names: &[&str], alpn: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let handshakes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&handshakes);
        let waiting = Arc::new(AtomicUsize::new(0));
        let waits = Arc::clone(&waiting);
        let end = Arc::new(Notify::new());
        let ends = Arc::clone(&end);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
                let (waits, ends) = (Arc::clone(&waits), Arc::clone(&ends));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    counter.fetch_add(1, Ordering::SeqCst);
                    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let io = TokioIo::new(stream);
                    let service = service_fn(move |request| echo(request, Arc::clone(&waits)));
                    let serving = async {
                        if h2 {
                            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                                .serve_connection(io, service)
                                .await
                        } else {
                            hyper::server::conn::http1::Builder::new()
                                .serve_connection(io, service)
                                .await
                        }
                    };
                    tokio::select! {
                        _ = serving => {}
                        () = ends.notified() => {}
                    }
                });
            }
        });
        Self {
            port,
            certificate,
            handshakes,
            waiting,
            end,
        }
    }

    /// A client that trusts this server.
    fn client(&self) -> Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        trusting(roots)
    }

    fn uri(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.port)
    }
}

fn trusting(roots: rustls::RootCertStore) -> Client {
    let options = Options {
        roots: Some(roots),
        ..Options::default()
    };
    let grants = policy(&["https://127.0.0.1:*", "https://localhost:*"]);
    Client::with_options(grants, options)
}

#[tokio::test]
async fn http_2_is_agreed_on_and_one_connection_serves_all() {
    let server = Secure::start(&["127.0.0.1", "localhost"], &["h2", "http/1.1"]).await;
    let client = server.client();
    let uri = server.uri("localhost");
    let first = post(&client, &uri, &[("host", "other.example")], full("first"))
        .await
        .unwrap();
    assert_eq!(first.headers()["x-version"], "HTTP/2.0");
    assert_eq!(
        first.headers()["x-host"],
        format!("localhost:{}", server.port)
    );
    assert_eq!(first.version(), Version::HTTP_2);
    assert_eq!(text(first).await.unwrap(), "first");

    let mut open = Vec::new();
    for _ in 0..20 {
        let (writer, body) = pieces();
        open.push((writer, post(&client, &uri, &[], body).await.unwrap()));
    }
    for (writer, mut response) in open {
        writer.write("piece");
        let frame = within(response.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "piece");
        drop(writer);
        assert!(within(response.body_mut().frame()).await.is_none());
    }
    assert_eq!(server.handshakes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_empty_body_ends_its_http_2_stream_with_the_head() {
    let server = Secure::start(&["127.0.0.1"], &["h2"]).await;
    let client = server.client();
    for (method, length) in [("GET", None), ("DELETE", None), ("POST", Some("0"))] {
        for pieces in [&[][..], &[""]] {
            let request = Request::builder()
                .method(method)
                .uri(server.uri("127.0.0.1"));
            let request = request.body(written(pieces)).unwrap();
            let response = within(client.send(request, Timeouts::default()))
                .await
                .unwrap();
            let fields = response.headers();
            assert_eq!(fields["x-version"], "HTTP/2.0");
            assert_eq!(fields["x-end"], "true", "{method}");
            let received = fields.get("x-content-length");
            assert_eq!(received.map(|it| it.to_str().unwrap()), length, "{method}");
        }
    }
}

#[tokio::test]
async fn te_reaches_servers_of_both_versions() {
    for (alpn, connection) in [("h2", &[][..]), ("http/1.1", &["keep-alive", "te"])] {
        let server = Secure::start(&["127.0.0.1"], &[alpn]).await;
        let fields = [("te", "trailers")];
        let (client, uri) = (server.client(), server.uri("127.0.0.1"));
        let response = post(&client, &uri, &fields, full("a")).await.unwrap();
        assert_eq!(response.headers()["x-te"], "trailers", "{alpn}");
        let received = response.headers().get_all("x-connection");
        let received: Vec<_> = received.iter().collect();
        assert_eq!(received, connection, "{alpn}");
    }
}

#[tokio::test]
async fn http_1_is_spoken_where_nothing_else_is_agreed_on() {
    for alpn in [&["http/1.1"][..], &[]] {
        let server = Secure::start(&["127.0.0.1"], alpn).await;
        let client = server.client();
        for _ in 0..3 {
            let response = post(&client, &server.uri("127.0.0.1"), &[], full("a"))
                .await
                .unwrap();
            assert_eq!(response.headers()["x-version"], "HTTP/1.1");
            assert_eq!(text(response).await.unwrap(), "a");
        }
        assert_eq!(server.handshakes.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_certificate_has_to_be_trusted_and_for_the_host() {
    let server = Secure::start(&["127.0.0.1"], &["h2"]).await;
    let stranger = trusting(rustls::RootCertStore::empty());
    let error = get(&stranger, &server.uri("127.0.0.1")).await.unwrap_err();
    assert!(matches!(error, Error::TlsCertificate(_)), "{error:?}");
    let error = get(&server.client(), &server.uri("localhost"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TlsCertificate(_)), "{error:?}");
    get(&server.client(), &server.uri("127.0.0.1"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_tls_alert_is_reported() {
    // Nothing in common: RFC 7301 has the server say so.
    let server = Secure::start(&["127.0.0.1"], &["mqtt"]).await;
    let error = get(&server.client(), &server.uri("127.0.0.1"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::TlsAlert { code: 120, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_error() {
    let upstream = crate::support::Upstream::replies_once("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let uri = format!("https://{}/", upstream.address);
    let client = trusting(rustls::RootCertStore::empty());
    let sending = client.send(
        crate::support::request(&uri),
        Timeouts {
            connect: Some(crate::support::SHORT),
            ..Timeouts::default()
        },
    );
    let error = within(sending).await.unwrap_err();
    // The server waits for the end of a request that never comes.
    assert!(matches!(error, Error::ConnectTimeout), "{error:?}");

    let upstream = crate::support::Upstream::start(|mut stream, _| async move {
        use tokio::io::AsyncWriteExt as _;
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        crate::support::read_rest(&mut stream).await;
    })
    .await;
    let uri = format!("https://{}/", upstream.address);
    let error = get(&client, &uri).await.unwrap_err();
    assert!(matches!(error, Error::TlsProtocol(_)), "{error:?}");
}

#[tokio::test]
async fn bodies_over_http_2_are_cut_off_as_well() {
    let server = Secure::start(&["127.0.0.1"], &["h2"]).await;
    let client = server.client();
    let uri = server.uri("127.0.0.1");

    // The server has answered before the body turns out to be short: both streams end.
    let (writer, body) = pieces();
    let mut response = post(&client, &uri, &[("content-length", "10")], body)
        .await
        .unwrap();
    writer.write("hello");
    let frame = within(response.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "hello");
    drop(writer);
    let error = within(response.body_mut().frame())
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(error, Error::RequestBodySize { announced: 10 }),
        "{error:?}"
    );

    let (writer, body) = pieces();
    let mut response = post(&client, &uri, &[], body).await.unwrap();
    writer.fail();
    let error = within(response.body_mut().frame())
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, Error::RequestBody(_)), "{error:?}");

    // Dropping the response ends the upload.
    let (writer, body) = pieces();
    let response = post(&client, &uri, &[], body).await.unwrap();
    drop(response);
    until(|| writer.is_dropped()).await;

    // The connection is as good as before.
    let response = post(&client, &uri, &[], written(&["a", "b"]))
        .await
        .unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        Bytes::from("ab")
    );
    assert_eq!(server.handshakes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_get_over_http_2_has_a_body_if_one_is_written() {
    let server = Secure::start(&["127.0.0.1"], &["h2"]).await;
    let request = Request::get(server.uri("127.0.0.1"))
        .header("te", "trailers")
        .body(written(&["a", "b"]))
        .unwrap();
    let sending = server.client().send(request, Timeouts::default());
    assert_eq!(text(within(sending).await.unwrap()).await.unwrap(), "ab");
}

#[tokio::test]
async fn a_stream_that_fails_does_not_fail_the_others() {
    let server = Secure::start(&["127.0.0.1"], &["h2"]).await;
    let client = server.client();
    let uri = server.uri("127.0.0.1");
    let (writer, body) = pieces();
    let mut open = post(&client, &uri, &[], body).await.unwrap();
    for path in ["giant", "fail"] {
        let error = get(&client, &format!("{uri}{path}")).await.unwrap_err();
        assert!(
            matches!(error, Error::Protocol(_) | Error::ResponseHeaderTooLarge),
            "{path}: {error:?}"
        );
    }
    writer.write("a");
    let frame = within(open.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "a");
    assert_eq!(server.handshakes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_response_over_http_2_has_no_more_fields_than_one_over_http_1() {
    let server = Secure::start(&["127.0.0.1"], &["h2"]).await;
    let client = server.client();
    let uri = server.uri("127.0.0.1");
    let response = get(&client, &format!("{uri}256")).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.headers().len(), 256);
    let error = get(&client, &format!("{uri}257")).await.unwrap_err();
    assert!(matches!(error, Error::ResponseHeaderTooLarge), "{error:?}");
    // Nor is the connection lost over it.
    get(&client, &uri).await.unwrap();
    assert_eq!(server.handshakes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_end_of_an_http_2_connection_ends_its_requests() {
    let server = Secure::start(&["127.0.0.1"], &["h2"]).await;
    let client = server.client();
    let uri = server.uri("127.0.0.1");
    let (_writer, body) = pieces();
    let mut begun = post(&client, &uri, &[], body).await.unwrap();
    let (_waiting, body) = pieces();
    let request = Request::post(format!("{uri}wait")).body(body).unwrap();
    let waiting = tokio::spawn(client.send(request, Timeouts::default()));
    until(|| server.waiting.load(Ordering::SeqCst) == 1).await;
    server.end.notify_one();
    let error = within(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Terminated), "{error:?}");
    let error = within(begun.body_mut().frame()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ResponseIncomplete), "{error:?}");
    // The next one gets a new connection.
    let response = post(&client, &uri, &[], full("a")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "a");
    assert_eq!(server.handshakes.load(Ordering::SeqCst), 2);
}
