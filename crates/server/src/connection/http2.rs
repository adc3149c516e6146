//! HTTP/2 connections. hyper and h2 wait for a stream's window for as long as the client keeps it
//! closed, and its guest would wait with them; so each stream is watched here until hyper is
//! done with it. What h2 has left of it then is watched by `held`.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http_message::BoxError;
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::http2::{Builder, Connection};
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, sleep, timeout};

use super::client_io::ClientIo;
use super::http2_idle;
use super::limits::MAX_HEADER_SECTION;
use super::read_turns::ReadTurns;
use super::stream_turns::{InTurns, StreamTurns};
use crate::counters::WorkerId;
use crate::held::{
    ConnectionHeld, StreamStallTimer, StreamState, Verdict, WithHeads, within_stream,
};
use crate::link::{CloseQueue, ConnectionState};
use crate::listener::ShutdownSignal;
use crate::timeouts::Timeouts;
use crate::workers::Workers;

/// Requests in progress on one connection.
const MAX_STREAMS: u32 = 128;

/// What the client may send of one body, and of all on a connection, before the guest reads it.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How long a client that is sent `GOAWAY` for being idle may take to answer. A request that it has sent
/// meanwhile is served.
const GOING_AWAY: Duration = Duration::from_secs(1);

/// Bytes of one stream that h2 may hold, where the client's windows are that large. hyper's default,
/// 400 KiB, would be 50 MiB for a connection that does not read.
const SEND_BUFFER: usize = 64 * 1024;

/// Serves a connection to its end. The first request has to be there by `first_by`.
pub(crate) async fn serve<S, B>(
    io: ClientIo,
    service: S,
    link: &ConnectionState,
    timeouts: &Timeouts,
    first_by: Instant,
    closing: &mut ShutdownSignal,
    streams: Streams,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let held = Arc::clone(&streams.held);
    let (workers, home) = (Arc::clone(&streams.workers), streams.home);
    let turns = Arc::clone(&streams.turns);
    let connection = Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_SECTION as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(timeouts.header_read)
        .keep_alive_timeout(timeouts.send)
        .serve_connection(
            TokioIo::new(ReadTurns::new(io, Arc::clone(&turns))),
            service,
        );
    let spawn = move |stream| workers.spawn_stream(home, stream);
    let connection = WithHeads::new(Box::pin(connection), Arc::clone(&held));
    let connection = InTurns::new(connection, turns, spawn);
    let mut connection = pin!(connection);
    let is_in_use = tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        verdict = held.verdict(Verdict::Stalled) => {
            return end_stalled(connection, verdict, link, timeouts.send, &held).await;
        }
        () = closing.wait() => true,
        () = http2_idle::expired(link, timeouts.idle, first_by) => false,
    };
    graceful_shutdown(&mut connection);
    // A client that was idle and does not answer is not waited for, nor what its streams have left in h2.
    let limit = if is_in_use { Duration::MAX } else { GOING_AWAY };
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
async fn end_stalled<S, B, W>(
    mut connection: Pin<&mut InTurns<Http2<S>, W>>,
    verdict: Verdict,
    link: &ConnectionState,
    limit: Duration,
    held: &ConnectionHeld,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    W: FnMut(Pin<Box<dyn Future<Output = ()> + Send>>) + Unpin,
{
    tracing::debug!("resetting an HTTP/2 connection whose client does not read: {verdict:?}");
    if verdict == Verdict::Stalled && link.is_in_use() {
        graceful_shutdown(&mut connection);
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

type Http2<S> = WithHeads<Pin<Box<Connection<TokioIo<ReadTurns<ClientIo>>, S, Streams>>>>;

/// Makes the connection refuse further streams.
fn graceful_shutdown<S, B, W>(connection: &mut InTurns<Http2<S>, W>)
where
    S: HttpService<Incoming, ResBody = B>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let http2 = &mut connection.connection.connection;
    http2.as_mut().graceful_shutdown();
}

/// Gives each stream of a connection its task.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) workers: Arc<Workers>,
    /// The worker that serves the connection.
    pub(crate) home: WorkerId,
    pub(crate) held: Arc<ConnectionHeld>,
    pub(crate) turns: Arc<StreamTurns>,
    /// [`Timeouts::send`].
    pub(crate) timeout: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        let state = StreamState::new(Arc::clone(&self.held));
        let mut timer = StreamStallTimer::new(self.timeout);
        // For `held::current_stream`: this is the only place that knows which stream a request is of.
        let stream = within_stream(state.clone(), async move {
            let _close = CloseQueue(state.drain_queue());
            let mut stream = pin!(Some(stream));
            poll_fn(|cx| {
                let Some(running) = stream.as_mut().as_pin_mut() else {
                    // The response has been handed over. To drop the rest of the request would reset
                    // the stream, which some clients take for a failure.
                    return state.drain_queue().poll_drain(|| true, cx);
                };
                let polled = running.poll(cx);
                state.end_turn();
                if polled.is_ready() {
                    state.finish();
                    stream.set(None);
                    return state.drain_queue().poll_drain(|| true, cx);
                }
                _ = state.drain_queue().poll_drain(|| false, cx);
                timer.poll(&state, cx)
            })
            .await;
            // What is dropped before its end is reset.
        });
        if let Some(stream) = self.turns.begin(stream) {
            self.workers.spawn_stream(self.home, stream);
        }
    }
}
