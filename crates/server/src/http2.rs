//! HTTP/2 connections. hyper and h2 wait for a stream's window for as long as the client keeps it
//! closed, and the guest behind it would wait with them; so each stream is watched here.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, Sleep, sleep};

use crate::Timeouts;
use crate::connection::MAX_HEADER_SECTION;
use crate::counters::WorkerId;
use crate::drain::{CloseQueue, DrainQueue};
use crate::io::{ClientIo, Link};
use crate::listener::Closing;
use crate::response::ResponseBody;
use crate::workers::Workers;

/// Requests in progress on one connection.
const MAX_STREAMS: u32 = 128;

/// What the client may send of one body, and of all on a connection, before the guest reads it.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Bytes of a response that are given to a stream at a time: what the client must take within
/// [`Timeouts::send`], and the most that is held of a stream that is over for the server.
pub(crate) const PIECE: usize = 16 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves a connection to its end.
pub(crate) async fn serve<S>(
    io: ClientIo,
    service: S,
    link: &Link,
    timeouts: &Timeouts,
    closing: &mut Closing,
    tasks: Tasks,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = ResponseBody>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    let streams = Streams {
        timeout: timeouts.send,
        tasks,
    };
    let connection = Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_SECTION as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(timeouts.header_read)
        .keep_alive_timeout(timeouts.send)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let goes_on = tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = closing.wait() => true,
        () = idle(link, timeouts.idle) => false,
    };
    connection.as_mut().graceful_shutdown();
    if goes_on {
        return connection.await;
    }
    // What its streams have left in h2 is no longer waited for, either.
    let ended = tokio::time::timeout(timeouts.send, connection).await;
    ended.unwrap_or(Ok(()))
}

/// Waits until the connection has been without a request for `limit`, twice that at most.
async fn idle(link: &Link, limit: Duration) {
    let mut before = None;
    loop {
        sleep(limit).await;
        let now = link.is_idle().then(|| link.requests());
        if now.is_some() && now == before {
            return;
        }
        before = now;
    }
}

/// Where the streams of a connection run.
#[derive(Clone)]
pub(crate) struct Tasks {
    pub(crate) workers: Arc<Workers>,
    /// Whose the connection is.
    pub(crate) home: WorkerId,
}

/// Gives each stream its task.
#[derive(Clone)]
struct Streams {
    timeout: Duration,
    tasks: Tasks,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        let timeout = self.timeout;
        let progress = Progress::default();
        let Tasks { workers, home } = &self.tasks;
        let stream = PROGRESS.scope(progress.clone(), async move {
            let _close = CloseQueue(progress.drain_queue());
            let mut stream = pin!(Some(stream));
            let mut watch = Watch::default();
            poll_fn(|cx| {
                let Some(running) = stream.as_mut().as_pin_mut() else {
                    // The response has been handed over. To drop the rest of the request would reset
                    // the stream, which some clients take for a failure.
                    return progress.drain_queue().poll_drain(|| true, cx);
                };
                if running.poll(cx).is_ready() {
                    stream.set(None);
                    return progress.drain_queue().poll_drain(|| true, cx);
                }
                _ = progress.drain_queue().poll_drain(|| false, cx);
                watch.poll(&progress, timeout, cx)
            })
            .await;
            // What is dropped before its end is reset.
        });
        workers.spawn_stream(*home, stream);
    }
}

tokio::task_local! {
    static PROGRESS: Progress;
}

/// How the body of the response on a stream gets on.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<State>);

#[derive(Default)]
struct State {
    /// Pieces that were given to hyper.
    given: AtomicU64,
    /// The last of them has not been followed by a question for the next.
    waits_for_client: AtomicBool,
    /// The request's body, if it was dropped unread.
    drain_queue: DrainQueue,
}

impl Progress {
    /// That of the stream whose task this is; `None` in HTTP/1.
    pub(crate) fn of_this_stream() -> Option<Self> {
        PROGRESS.try_with(Self::clone).ok()
    }

    pub(crate) fn drain_queue(&self) -> &DrainQueue {
        &self.0.drain_queue
    }

    /// hyper has taken all that it was given, and asks for more.
    pub(crate) fn asked(&self) {
        self.0.waits_for_client.store(false, Ordering::Relaxed);
    }

    /// hyper has a piece now, and asks again when there is room for another.
    pub(crate) fn given(&self) {
        self.0.given.fetch_add(1, Ordering::Relaxed);
        self.0.waits_for_client.store(true, Ordering::Relaxed);
    }
}

/// Ends the wait for a client that takes nothing.
#[derive(Default)]
struct Watch {
    /// Armed for the piece of this number.
    number: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    fn poll(&mut self, progress: &Progress, timeout: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if !progress.0.waits_for_client.load(Ordering::Relaxed) {
            self.timer = None;
            return Poll::Pending;
        }
        let given = progress.0.given.load(Ordering::Relaxed);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        if self.number != given {
            self.number = given;
            timer.as_mut().reset(Instant::now() + timeout);
        }
        timer.as_mut().poll(cx)
    }
}
