//! HTTP/2 connections. hyper and h2 wait for a stream's window for as long as the client keeps it
//! closed, and the guest behind it would wait with them; so each stream is watched here until hyper is
//! done with it. What h2 has left of it then is watched by `held`.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::{Builder, Connection};
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{sleep, timeout};

use crate::Timeouts;
use crate::connection::MAX_HEADER_SECTION;
use crate::counters::WorkerId;
use crate::held::{ConnectionHeld, StallTimer, StreamHeld, Verdict};
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
/// [`Timeouts::send`].
pub(crate) const PIECE: usize = 16 * 1024;

/// Bytes of one stream that h2 may hold, where the client's windows are that large. hyper's default,
/// 400 KiB, would be 50 MiB for a connection that does not read.
const SEND_BUFFER: usize = 64 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves a connection to its end.
pub(crate) async fn serve<S>(
    io: ClientIo,
    service: S,
    link: &Link,
    timeouts: &Timeouts,
    closing: &mut Closing,
    tasks: Tasks,
    held: Arc<ConnectionHeld>,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = ResponseBody>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    let streams = Streams {
        timeout: timeouts.send,
        tasks,
        held: Arc::clone(&held),
    };
    let connection = Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_SECTION as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(timeouts.header_read)
        .keep_alive_timeout(timeouts.send)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let goes_on = tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        verdict = held.verdict(Verdict::Stalled) => {
            return end_stalled(connection, verdict, link, timeouts.send, &held).await;
        }
        () = closing.wait() => true,
        () = idle(link, timeouts.idle) => false,
    };
    connection.as_mut().graceful_shutdown();
    // What the streams of an idle connection have left in h2 is no longer waited for, either.
    let limit = if goes_on {
        Duration::MAX
    } else {
        timeouts.send
    };
    tokio::select! {
        biased;
        ended = timeout(limit, connection.as_mut()) => ended.unwrap_or(Ok(())),
        verdict = held.verdict(Verdict::Stalled) => {
            end_stalled(connection, verdict, link, timeouts.send, &held).await
        }
    }
}

/// Ends a connection whose client does not take what is held for it, with a reset. Requests that are in
/// progress beside a stream that has stalled are given `limit` to finish.
async fn end_stalled<S>(
    mut connection: Pin<&mut Connection<TokioIo<ClientIo>, S, Streams>>,
    verdict: Verdict,
    link: &Link,
    limit: Duration,
    held: &ConnectionHeld,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = ResponseBody>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    tracing::debug!("a connection is reset: {verdict:?}");
    if verdict == Verdict::Stalled && link.is_in_use() {
        connection.as_mut().graceful_shutdown();
        let others = timeout(limit, async {
            while link.is_in_use() {
                sleep(limit / 64).await;
            }
        });
        tokio::select! {
            biased;
            ended = connection => return ended,
            _ = others => {}
            _ = held.verdict(Verdict::Evicted) => {}
        }
    }
    link.reset();
    Ok(())
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
    held: Arc<ConnectionHeld>,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        let held = StreamHeld::new(Arc::clone(&self.held));
        let mut timer = StallTimer::new(self.timeout);
        let Tasks { workers, home } = &self.tasks;
        let stream = STREAM.scope(held.clone(), async move {
            let mut stream = pin!(stream);
            poll_fn(|cx| {
                if stream.as_mut().poll(cx).is_ready() {
                    held.finish();
                    return Poll::Ready(());
                }
                timer.poll(&held, cx)
            })
            .await;
            // What is dropped before its end is reset.
        });
        workers.spawn_stream(*home, stream);
    }
}

tokio::task_local! {
    /// Of the stream whose task this is. hyper has no place for it in the request that it makes.
    static STREAM: StreamHeld;
}

/// What is held of the response on the stream whose task this is; `None` in HTTP/1.
pub(crate) fn stream_held() -> Option<StreamHeld> {
    STREAM.try_with(StreamHeld::clone).ok()
}
