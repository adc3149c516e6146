//! HTTP/1 connections. One that waits for its next request for long costs little: what hyper keeps
//! for it, some 20 KiB, is made again when that comes.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, Connection, Parts};
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, sleep};

use crate::Timeouts;
use crate::connection::MAX_HEADER_SECTION;
use crate::io::{ClientIo, Link};
use crate::listener::Closing;
use crate::response::ResponseBody;

/// Bytes that one connection may hold of what it reads, and of what it writes.
const BUFFER: usize = 128 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves a connection to its end.
pub(crate) async fn serve<S>(
    mut io: ClientIo,
    mut service: S,
    link: &Link,
    timeouts: &Timeouts,
    closing: &mut Closing,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = ResponseBody>,
    S::Error: Into<BoxError>,
{
    loop {
        let connection = Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.header_read)
            .max_header_size(MAX_HEADER_SECTION)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(io), service);
        let parts = match drive(connection, link, timeouts.rest, closing).await {
            Driven::Ended(ended) => return ended,
            Driven::Idle(parts) => parts,
        };
        service = parts.service;
        io = parts.io.into_inner();
        if !parts.read_buf.is_empty() {
            // What is empty would still hold on to its buffer.
            io.put_back(parts.read_buf);
        }
        // It has been idle for that long at least.
        let left = timeouts.header_read.saturating_sub(timeouts.rest);
        tokio::select! {
            biased;
            // Whatever is wrong with it, hyper will find.
            _ = io.readable() => {}
            () = closing.wait() => return Ok(()),
            () = sleep(left) => return Ok(()),
        }
    }
}

enum Driven<S> {
    Ended(hyper::Result<()>),
    /// It waits for its next request, and has had one.
    Idle(Parts<TokioIo<ClientIo>, S>),
}

/// Drives a connection until it ends, or has been without a request for `rest`, twice that at most.
///
/// hyper may be parted from its socket only where it holds nothing that the socket is to take, and
/// expects nothing but the head of a request. That is so when the bodies of all requests and responses
/// are gone and no write waits; both are looked at again after `rest`, so that hyper has been polled
/// since. A connection that has not had a request yet stays, or its header could take for ever.
async fn drive<S>(
    mut connection: Connection<TokioIo<ClientIo>, S>,
    link: &Link,
    rest: Duration,
    closing: &mut Closing,
) -> Driven<S>
where
    S: HttpService<Incoming, ResBody = ResponseBody>,
    S::Error: Into<BoxError>,
{
    let at_first = link.requests();
    let mut before = None;
    let mut is_closing = false;
    let mut closes = pin!(closing.wait());
    let mut pause = pin!(sleep(rest));
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Some(ended));
            }
            if is_closing {
                return Poll::Pending;
            }
            if closes.as_mut().poll(cx).is_ready() {
                is_closing = true;
                Pin::new(&mut connection).graceful_shutdown();
                continue;
            }
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let requests = link.requests();
            let now = (link.is_idle() && requests > at_first).then_some(requests);
            if now.is_some() && now == before {
                return Poll::Ready(None);
            }
            before = now;
            pause.as_mut().reset(Instant::now() + rest);
        }
    })
    .await;
    match ended {
        Some(ended) => Driven::Ended(ended),
        None => Driven::Idle(connection.into_parts()),
    }
}
