//! HTTP/2 connections. hyper and h2 wait for a stream's window for as long as the client keeps it
//! closed, and the guest behind it would wait with them; so each stream is watched here until hyper is
//! done with it. What h2 has left of it then is watched by `held`.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::{Builder, Connection};
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, sleep, timeout};

use crate::Timeouts;
use crate::connection::MAX_HEADER_SECTION;
use crate::counters::WorkerId;
use crate::drain::CloseQueue;
use crate::held::{ConnectionHeld, StallTimer, StreamHeld, Verdict};
use crate::idle;
use crate::io::{ClientIo, Link};
use crate::listener::Closing;
use crate::read_turns::ReadTurns;
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

/// How long a client that is sent `GOAWAY` for being idle may take to answer. A request that it has sent
/// meanwhile is served.
const GOING_AWAY: Duration = Duration::from_secs(1);

/// Bytes of one stream that h2 may hold, where the client's windows are that large. hyper's default,
/// 400 KiB, would be 50 MiB for a connection that does not read.
const SEND_BUFFER: usize = 64 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves a connection to its end. The first request has to be there by `first_by`.
pub(crate) async fn serve<S>(
    io: ClientIo,
    service: S,
    link: &Link,
    timeouts: &Timeouts,
    first_by: Instant,
    closing: &mut Closing,
    streams: Streams,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = ResponseBody>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    let held = Arc::clone(&streams.held);
    let connection = Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_SECTION as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(timeouts.header_read)
        .keep_alive_timeout(timeouts.send)
        .serve_connection(TokioIo::new(ReadTurns::new(io)), service);
    let mut connection = pin!(connection);
    let goes_on = tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        verdict = held.verdict(Verdict::Stalled) => {
            return end_stalled(connection, verdict, link, timeouts.send, &held).await;
        }
        () = closing.wait() => true,
        () = idle::expired(link, timeouts.idle, first_by) => false,
    };
    connection.as_mut().graceful_shutdown();
    // A client that was idle and does not answer is not waited for, nor what its streams have left in h2.
    let limit = if goes_on { Duration::MAX } else { GOING_AWAY };
    loop {
        tokio::select! {
            biased;
            ended = timeout(limit, connection.as_mut()) => match ended {
                Ok(ended) => return ended,
                Err(_) if link.is_idle() => return Ok(()),
                Err(_) => {}
            },
            verdict = held.verdict(Verdict::Stalled) => {
                return end_stalled(connection, verdict, link, timeouts.send, &held).await;
            }
        }
    }
}

/// Ends a connection whose client does not take what is held for it, with a reset. Requests that are in
/// progress beside a stream that has stalled are given `limit` to finish.
async fn end_stalled<S>(
    mut connection: Pin<&mut Connection<TokioIo<ReadTurns<ClientIo>>, S, Streams>>,
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

/// Gives each stream of a connection its task.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) workers: Arc<Workers>,
    /// The worker that serves the connection.
    pub(crate) home: WorkerId,
    pub(crate) held: Arc<ConnectionHeld>,
    /// [`Timeouts::send`].
    pub(crate) timeout: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        let held = StreamHeld::new(Arc::clone(&self.held));
        let mut timer = StallTimer::new(self.timeout);
        let stream = STREAM.scope(held.clone(), async move {
            let _close = CloseQueue(held.drain_queue());
            let mut stream = pin!(Some(stream));
            poll_fn(|cx| {
                let Some(running) = stream.as_mut().as_pin_mut() else {
                    // The response has been handed over. To drop the rest of the request would reset
                    // the stream, which some clients take for a failure.
                    return held.drain_queue().poll_drain(|| true, cx);
                };
                if running.poll(cx).is_ready() {
                    held.finish();
                    stream.set(None);
                    return held.drain_queue().poll_drain(|| true, cx);
                }
                _ = held.drain_queue().poll_drain(|| false, cx);
                timer.poll(&held, cx)
            })
            .await;
            // What is dropped before its end is reset.
        });
        self.workers.spawn_stream(self.home, stream);
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
