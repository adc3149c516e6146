//! HTTP/1 connections: driving hyper, timeouts, graceful shutdown. `parking` says when a connection is parked: then
//! hyper's state is dropped here, and created again for the next request.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use http::StatusCode;
use http_message::{BoxError, raw_error_response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::{Builder, Connection, Parts};
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, sleep_until};

use super::client_io::ClientIo;
use super::limits::MAX_HEADER_SECTION;
use super::linger::linger;
use super::parking::{IdleCheck, IdleWatch, park_after};
use crate::counters::OpenConnection;
use crate::link::{CloseQueue, ConnectionState};
use crate::listener::ShutdownSignal;
use crate::timeouts::Timeouts;
use crate::tunnel::UpgradedConnection;

/// Bytes that one connection may hold of what it reads, and of what it writes.
const BUFFER: usize = 128 * 1024;

/// Serves a connection to its end, or until it has been upgraded to another protocol: then it is returned with
/// its tunnel. Its first request has to be there by `first_by`.
pub(crate) async fn serve<S, B>(
    mut io: ClientIo,
    mut service: S,
    link: &ConnectionState,
    timeouts: &Timeouts,
    first_by: Instant,
    closing: &mut ShutdownSignal,
    counted: &OpenConnection,
) -> hyper::Result<Option<(UpgradedConnection, ClientIo)>>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let _close = CloseQueue(link.drain_queue());
    let mut request_by = first_by;
    let is_late = loop {
        // hyper gets no timer, which it would arm and disarm for each request: `drive` has the time limits.
        let connection = Builder::new()
            .max_header_size(MAX_HEADER_SECTION)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(io), service);
        let connection = Driver {
            connection,
            link,
            error: None,
        };
        let parts = match drive(connection, link, timeouts, request_by, closing).await {
            Driven::Ended(ended, parts) => {
                let Parts {
                    io,
                    read_buf,
                    service,
                    ..
                } = parts;
                let mut io = io.into_inner();
                if ended.is_ok()
                    && let Some(switched) = link.take_switched()
                {
                    io.unread(read_buf);
                    return Ok(Some((switched, io)));
                }
                let lingers =
                    leaves_unread(&ended, &read_buf, link) || ended.is_ok() && ends_unasked(link);
                // Freed before the wait for the client.
                drop((read_buf, service));
                if lingers {
                    // Boxed, so that the futures of other connections have no room for it.
                    Box::pin(linger(io, closing)).await;
                }
                return ended.map(|()| None);
            }
            Driven::Late(parts) => {
                io = parts.io.into_inner();
                break true;
            }
            Driven::Idle(parts) => parts,
        };
        service = parts.service;
        io = parts.io.into_inner();
        io.unread(parts.read_buf);
        let _parked = counted.park();
        // It has been idle for `park_after` at least.
        let left = timeouts.idle.saturating_sub(park_after(timeouts));
        tokio::select! {
            biased;
            // An error is ignored here: hyper gets it again when it reads.
            _ = poll_fn(|cx| io.poll_readable(cx)) => {
                request_by = Instant::now() + timeouts.header_read;
            }
            () = closing.wait() => break false,
            () = sleep(left) => break true,
        }
    };
    if is_late {
        send_request_timeout(&mut io, timeouts).await;
    } else {
        io.close().await;
    }
    Ok(None)
}

/// Sends a 408 before the connection is closed. As in Unit, a client that has been silent gets it as well, and may
/// take it for the answer to a request that it has just sent.
async fn send_request_timeout(io: &mut ClientIo, timeouts: &Timeouts) {
    let answer = raw_error_response(StatusCode::REQUEST_TIMEOUT, None);
    let sent = async {
        io.write_all(answer.as_bytes()).await?;
        io.shutdown().await
    };
    // A client that does not read it is not waited for.
    _ = tokio::time::timeout(timeouts.send, sent).await;
}

/// Whether bytes of the client are unread, or on their way: closing the socket would then reset the connection.
fn leaves_unread(ended: &hyper::Result<()>, read_buf: &[u8], link: &ConnectionState) -> bool {
    link.drain_queue().is_abandoned()
        || !read_buf.is_empty()
        || ended.as_ref().is_err_and(hyper::Error::is_parse)
}

/// Whether the server ends a connection that the client may still use. The client's next request may arrive after
/// the last read; closing the socket would then reset the connection, and destroy a response that the client has
/// not read yet.
fn ends_unasked(link: &ConnectionState) -> bool {
    link.is_closed_by_server() && link.requests() > 0
}

enum Driven<S> {
    Ended(hyper::Result<()>, Parts<TokioIo<ClientIo>, S>),
    /// Its first request has not come in time.
    Late(Parts<TokioIo<ClientIo>, S>),
    /// It waits for its next request, and has had one.
    Idle(Parts<TokioIo<ClientIo>, S>),
}

/// hyper's part of a connection.
///
/// After a request with an `Upgrade` field hyper expects an upgrade until the connection ends, even if that request
/// was answered otherwise and others have followed. It then ends before it has flushed its last bytes and shut the
/// connection down. Polled once more, it does both.
struct Driver<'a, S>
where
    S: HttpService<Incoming>,
{
    connection: Connection<TokioIo<ClientIo>, S>,
    link: &'a ConnectionState,
    /// The error with which hyper ended at first, while it is polled once more.
    error: Option<hyper::Error>,
}

impl<S, B> Driver<'_, S>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let Poll::Ready(ended) = Pin::new(&mut self.connection).poll(cx) else {
            return Poll::Pending;
        };
        // Other errors leave nothing to flush.
        let is_orderly = ended.as_ref().err().is_none_or(hyper::Error::is_parse);
        if is_orderly && self.error.is_none() && self.link.is_upgrade_refused() {
            self.error = ended.err();
            ready!(Pin::new(&mut self.connection).poll(cx))?;
            return Poll::Ready(self.error.take().map_or(Ok(()), Err));
        }
        Poll::Ready(self.error.take().map_or(ended, Err))
    }
}

/// Drives a connection until it ends, its first request is not there by `request_by`, or it has been
/// without one for `park_after`, and up to an interval of [`IdleWatch`] more.
///
/// Not an `async fn`: its future would have room for the connection twice.
fn drive<'a, S, B>(
    mut connection: Driver<'a, S>,
    link: &'a ConnectionState,
    timeouts: &'a Timeouts,
    request_by: Instant,
    closing: &'a mut ShutdownSignal,
) -> impl Future<Output = Driven<S>>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let mut watch = IdleWatch::new(link.requests(), timeouts, request_by, Instant::now());
    let notice = closing.clone();
    async move {
        let gather_orders = link.gather_orders().accept();
        let mut closes = pin!(closing.wait());
        let mut is_closing = false;
        let mut pause = pin!(sleep_until(watch.next));
        // The waker with which `closes` and `pause` were last polled.
        let mut registered: Option<Waker> = None;
        let over = poll_fn(|cx| {
            link.turn().begin();
            // Its waker is the same for as long as the task lives.
            let is_registered = registered
                .as_ref()
                .is_some_and(|it| it.will_wake(cx.waker()));
            if !is_registered {
                link.gather_orders().set_driver(cx.waker());
            }
            // Before hyper is polled, which reads.
            link.drain_queue().begin_turn();
            let mut may_gather = true;
            loop {
                if let Poll::Ready(ended) = connection.poll(cx) {
                    return Poll::Ready(DriveEnd::Ended(ended));
                }
                // Once in each turn: a later order has woken this task, which gathers in its next turn.
                if std::mem::take(&mut may_gather)
                    && let Some(polled) = gather_orders.gather(cx, |cx| connection.poll(cx))
                {
                    match polled {
                        Poll::Ready(ended) => return Poll::Ready(DriveEnd::Ended(ended)),
                        Poll::Pending => continue,
                    }
                }
                // After hyper has been polled: only what it has written shows whether the response has ended.
                _ = (link.drain_queue()).poll_drain(|| link.is_answered(), cx);
                // `closes` and `pause` wake this task when they are ready. Polling them takes locks, so they
                // are polled once, and again when one of them is known to be ready.
                let is_registered = registered
                    .as_ref()
                    .is_some_and(|it| it.will_wake(cx.waker()));
                let closes_now = !is_closing && notice.is_closing();
                if is_registered && !closes_now && !pause.is_elapsed() {
                    return Poll::Pending;
                }
                registered = Some(cx.waker().clone());
                if !is_closing && closes.as_mut().poll(cx).is_ready() {
                    is_closing = true;
                    Pin::new(&mut connection.connection).graceful_shutdown();
                    link.drain_queue().stop_keep_alive();
                    link.note_close();
                    continue;
                }
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                match watch.check(link.requests(), link.is_idle(), Instant::now()) {
                    IdleCheck::Late => return Poll::Ready(DriveEnd::Late),
                    // While closing, hyper itself ends an idle connection.
                    IdleCheck::Idle if !is_closing => return Poll::Ready(DriveEnd::Idle),
                    IdleCheck::Busy => link.hang_up().order(),
                    IdleCheck::Idle | IdleCheck::Nothing => {}
                }
                pause.as_mut().reset(watch.next);
                // The timer has to be polled again to wake this task.
                registered = None;
            }
        })
        .await;
        let parts = connection.connection.into_parts();
        match over {
            DriveEnd::Ended(ended) => Driven::Ended(ended, parts),
            DriveEnd::Late => Driven::Late(parts),
            DriveEnd::Idle => Driven::Idle(parts),
        }
    }
}

enum DriveEnd {
    Ended(hyper::Result<()>),
    Late,
    Idle,
}
