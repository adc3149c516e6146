//! The server that guests send requests to.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A server on the loopback interface for guests to call. The path says what it does:
///
/// | path | |
/// | --- | --- |
/// | `/hello` | 200, `hello\n` |
/// | `/host` | 200, the request's `host` |
/// | `/framing` | 200, the request's fields about its body and connection, before reading the body |
/// | `/echo` | 200, the request's body, streamed |
/// | `/count` | 200, the length of the request's body, or `cut off` |
/// | `/redirect` | 302 to `/hello` |
/// | `/silent` | never answers |
/// | `/stalls` | 200, `some`, and then stalls |
/// | `/breaks` | 200, `some`, and then closes the connection within the body |
pub struct Upstream {
    address: SocketAddr,
    counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    cut_off: AtomicUsize,
}

type UpstreamResponse = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

impl Upstream {
    /// Starts it on a free port.
    #[must_use]
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&counts);
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(&listener, &shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            counts,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, without a path: what to grant.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// Requests at `/count` with a truncated body.
    #[must_use]
    pub fn cut_off(&self) -> usize {
        self.counts.cut_off.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: &TcpListener, counts: &Arc<Counts>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        counts.connections.fetch_add(1, Ordering::SeqCst);
        let counts = Arc::clone(counts);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let counts = Arc::clone(&counts);
                async move { Ok::<_, Infallible>(answer(request, &counts).await) }
            });
            let io = TokioIo::new(stream);
            // Fails if the client leaves.
            let _ = http1::Builder::new().serve_connection(io, service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, counts: &Counts) -> UpstreamResponse {
    counts.requests.fetch_add(1, Ordering::SeqCst);
    match request.uri().path() {
        "/hello" => text("hello\n"),
        "/host" => {
            let host = request.headers().get("host").map(|it| it.to_str().unwrap());
            text(&format!("{}\n", host.unwrap_or("none")))
        }
        "/framing" => text(&framing(&request)),
        "/echo" => Response::new(request.into_body().boxed_unsync()),
        "/count" => match request.into_body().collect().await {
            Ok(body) => text(&format!("{}\n", body.to_bytes().len())),
            Err(_) => {
                counts.cut_off.fetch_add(1, Ordering::SeqCst);
                text("cut off\n")
            }
        },
        "/redirect" => {
            let mut response = text("");
            *response.status_mut() = http::StatusCode::FOUND;
            let location = http::HeaderValue::from_static("/hello");
            response.headers_mut().insert("location", location);
            response
        }
        "/silent" => pending().await,
        "/stalls" => Response::new(Partial::then(Box::pin(pending()))),
        "/breaks" => Response::new(Partial::then(Box::pin(async {
            // The bytes have to arrive before the end of the connection.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }))),
        path => {
            let mut response = text(&format!("no {path} here\n"));
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            response
        }
    }
}

/// The method, then each field about the body's framing or the connection, one per line.
fn framing(request: &Request<Incoming>) -> String {
    let mut lines = format!("{}\n", request.method());
    for name in ["content-length", "transfer-encoding", "te", "connection"] {
        for value in request.headers().get_all(name) {
            lines.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
        }
    }
    lines
}

fn text(text: &str) -> UpstreamResponse {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes()));
    Response::new(body.map_err(|never| match never {}).boxed_unsync())
}

/// The first 4 bytes, `some`, of a body of 100, which ends when a future completes.
struct Partial {
    begun: bool,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Partial {
    fn then(end: Pin<Box<dyn Future<Output = ()> + Send>>) -> UnsyncBoxBody<Bytes, hyper::Error> {
        Self { begun: false, end }
            .map_err(|never: Infallible| match never {})
            .boxed_unsync()
    }
}

impl Body for Partial {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.begun {
            self.begun = true;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"some")))));
        }
        self.end.as_mut().poll(cx).map(|()| None)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(100)
    }
}
