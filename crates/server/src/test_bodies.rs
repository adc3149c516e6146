//! Bodies of requests as hyper gives them, without a socket and a server, for the tests of what reads them.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;

use crate::counters::WorkerId;
use crate::exchange::ClientBody;
use crate::held::{ConnectionHeld, HeldTotal, StreamState};
use crate::link::ConnectionState;
use crate::settings::Settings;

/// Counts how often something was woken.
#[derive(Clone, Default)]
pub(crate) struct Wakes(Arc<WakeCount>);

#[derive(Default)]
struct WakeCount(AtomicUsize);

impl Wakes {
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }
}

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The state of a stream of HTTP/2.
pub(crate) fn stream() -> StreamState {
    let total = Arc::new(HeldTotal::new(1, 1 << 30));
    let send = Duration::from_secs(30);
    StreamState::new(ConnectionHeld::new(
        total,
        WorkerId(0),
        ConnectionState::default(),
        send,
    ))
}

/// The body of a request of HTTP/1.1 that begins like this, and who may send more of it. It is never answered.
pub(crate) async fn http1(request: &str, link: &ConnectionState) -> (ClientBody, DuplexStream) {
    let (mut client, server) = duplex(64 * 1024);
    client.write_all(request.as_bytes()).await.unwrap();
    let (sender, mut requests) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            sender.send(request).await.unwrap();
            pending::<Result<Response<String>, Infallible>>().await
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
    tokio::spawn(connection);
    let (parts, incoming) = requests.recv().await.unwrap().into_parts();
    (client_body(&parts, incoming, link), client)
}

fn client_body(parts: &Parts, incoming: Incoming, link: &ConnectionState) -> ClientBody {
    let settings = Settings::new(HeaderValue::from_static("test"));
    ClientBody::new(incoming, parts, &settings, link)
}
