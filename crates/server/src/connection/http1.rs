//! HTTP/1 connections: driving hyper, timeouts, graceful shutdown, and parking. A parked connection, which waits for
//! its next request for longer than [`Timeouts::park_after`], costs little: hyper's state, some 20 KiB, is dropped,
//! and created again for the next request.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

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
use crate::counters::OpenConnection;
use crate::link::{CHECK_INTERVAL, CloseQueue, ConnectionState};
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
        // Without a timer of hyper's, which would be armed and disarmed for each request: what it
        // bounds is bounded in `drive`.
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
                // Not kept while the client is waited for.
                drop((read_buf, service));
                if lingers {
                    // Apart, so that other connections take no room for it.
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
            // An error is left to hyper, which meets it again.
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

/// Sends a 408 before the connection is closed. As in Unit, also to a client that has been silent, which may take
/// it for the answer to a request that it has just sent.
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

/// Whether the server ends a connection that the client may still use: its next request may come after the
/// last read, and to close the socket would reset it then, and take a response along that is not read yet.
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
/// hyper takes each request with an `Upgrade` field for one whose connection may be switched, also if it has
/// been answered otherwise and others have followed. It ends without having flushed its last bytes and shut the
/// connection down then, which it does if it is polled again.
struct Driver<'a, S>
where
    S: HttpService<Incoming>,
{
    connection: Connection<TokioIo<ClientIo>, S>,
    link: &'a ConnectionState,
    /// What hyper has ended with already.
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
        // After other errors nothing is in order.
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
/// without one for `park_after`, and up to [`CHECK_INTERVAL`] more.
///
/// No `async fn`, which would have room for the connection twice.
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
        let mut asked: Option<Waker> = None;
        let over = poll_fn(|cx| {
            link.turn().begin();
            // Its waker is the same for as long as the task lives.
            let is_asked = asked.as_ref().is_some_and(|it| it.will_wake(cx.waker()));
            if !is_asked {
                link.gather_orders().set_driver(cx.waker());
            }
            // hyper reads first.
            link.drain_queue().begin_turn();
            let mut may_gather = true;
            loop {
                if let Poll::Ready(ended) = connection.poll(cx) {
                    return Poll::Ready(DriveEnd::Ended(ended));
                }
                // Once: an order after that has woken this task for another turn.
                if std::mem::take(&mut may_gather)
                    && let Some(polled) = gather_orders.gather(cx, |cx| connection.poll(cx))
                {
                    match polled {
                        Poll::Ready(ended) => return Poll::Ready(DriveEnd::Ended(ended)),
                        Poll::Pending => continue,
                    }
                }
                // hyper has written before what the end of a response is known by.
                _ = (link.drain_queue()).poll_drain(|| link.is_answered(), cx);
                // Both wake this task when they are ready; to poll them takes locks. So that is done
                // once, and again where the answer is known to be another.
                let is_asked = asked.as_ref().is_some_and(|it| it.will_wake(cx.waker()));
                let closes_now = !is_closing && notice.is_closing();
                if is_asked && !closes_now && !pause.is_elapsed() {
                    return Poll::Pending;
                }
                asked = Some(cx.waker().clone());
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
                    // hyper closes one that is idle by itself then.
                    IdleCheck::Idle if !is_closing => return Poll::Ready(DriveEnd::Idle),
                    IdleCheck::Busy => link.hang_up().order(),
                    IdleCheck::Idle | IdleCheck::Nothing => {}
                }
                pause.as_mut().reset(watch.next);
                // It has to be polled to wake anyone.
                asked = None;
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

/// How long a connection without requests keeps its buffers: never longer than it may be idle.
fn park_after(timeouts: &Timeouts) -> Duration {
    timeouts.park_after.min(timeouts.idle)
}

/// Looks at a connection now and then: whether it has had a request, and since when it has none.
///
/// hyper may be parted from its socket only where it holds nothing that the socket is to take, and
/// expects nothing but the head of a request. That is so when the bodies of all requests and responses
/// are gone and no write waits; both are looked at again after `park_after`, so that hyper has been polled
/// since. A connection that has not had a request yet stays, or its header could take for ever.
struct IdleWatch {
    /// Requests before this.
    before: u64,
    /// By when the first is to have come.
    request_by: Instant,
    park_after: Duration,
    interval: Duration,
    /// Requests when it was first seen idle, and when that was.
    idle_since: Option<(u64, Instant)>,
    /// When to look.
    next: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum IdleCheck {
    /// The first request has not come in time.
    Late,
    /// There was none for `park_after`, nor is there one in progress.
    Idle,
    /// A request is in progress.
    Busy,
    Nothing,
}

impl IdleWatch {
    fn new(requests: u64, timeouts: &Timeouts, request_by: Instant, now: Instant) -> Self {
        let park_after = park_after(timeouts);
        let interval = park_after.min(CHECK_INTERVAL);
        Self {
            before: requests,
            request_by,
            park_after,
            interval,
            idle_since: None,
            next: (now + interval).min(request_by),
        }
    }

    fn check(&mut self, requests: u64, is_idle: bool, now: Instant) -> IdleCheck {
        self.next = now + self.interval;
        if requests == self.before {
            self.next = self.next.min(self.request_by);
            return if now >= self.request_by {
                IdleCheck::Late
            } else {
                IdleCheck::Nothing
            };
        }
        if !is_idle {
            self.idle_since = None;
            return IdleCheck::Busy;
        }
        match self.idle_since {
            Some((before, since)) if before == requests => {
                if now >= since + self.park_after {
                    return IdleCheck::Idle;
                }
            }
            Some(_) | None => self.idle_since = Some((requests, now)),
        }
        IdleCheck::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> (IdleWatch, Instant) {
        let timeouts = Timeouts {
            park_after: SECOND,
            ..Timeouts::default()
        };
        let now = Instant::now();
        (IdleWatch::new(7, &timeouts, now + SECOND * 9 / 4, now), now)
    }

    #[test]
    fn a_connection_is_idle_when_it_had_no_request_since_it_was_seen_idle_long_enough_ago() {
        let (mut watch, now) = watch();
        let mut see =
            |requests, is_idle, tenths| watch.check(requests, is_idle, now + SECOND * tenths / 10);
        assert_eq!(see(8, false, 5), IdleCheck::Busy);
        assert_eq!(see(8, true, 10), IdleCheck::Nothing);
        assert_eq!(see(9, true, 20), IdleCheck::Nothing);
        assert_eq!(see(10, false, 25), IdleCheck::Busy);
        assert_eq!(see(10, true, 30), IdleCheck::Nothing);
        assert_eq!(see(10, true, 39), IdleCheck::Nothing);
        assert_eq!(see(10, true, 40), IdleCheck::Idle);
    }

    #[test]
    fn the_first_request_has_its_time_and_no_more() {
        let (mut watch, now) = watch();
        let mut looks = 0;
        let late = loop {
            let at = watch.next;
            looks += 1;
            match watch.check(7, true, at) {
                IdleCheck::Nothing => {}
                seen => break (seen, at),
            }
        };
        assert_eq!(late, (IdleCheck::Late, now + SECOND * 9 / 4));
        assert_eq!(looks, 5);
    }

    #[test]
    fn a_connection_with_a_request_is_checked_for_a_hang_up_within_a_second() {
        let (mut watch, now) = watch();
        assert!(watch.next < now + SECOND);
        let at = watch.next;
        assert_eq!(watch.check(8, false, at), IdleCheck::Busy);
        assert!(watch.next < at + SECOND);
    }
}
