//! The HTTP/2 stream whose task runs.
//!
//! A channel beside the arguments, since hyper has none: it makes the request, and calls the service with it, in
//! a future that it gives to an executor, and neither the request nor the call says of which stream they are. The
//! executor, in `connection::http2`, knows the stream, and sets this for as long as that future is polled; the
//! exchange and the body of the request read it, once for each request, before anything is awaited.

use super::stream::StreamState;

tokio::task_local! {
    static STREAM: StreamState;
}

/// Polls a stream's future as its task.
pub(crate) fn within_stream<F: Future>(
    stream: StreamState,
    task: F,
) -> impl Future<Output = F::Output> {
    STREAM.scope(stream, task)
}

/// Does something as the task of this stream does it.
#[cfg(test)]
pub(crate) fn within_stream_sync<T>(stream: &StreamState, something: impl FnOnce() -> T) -> T {
    STREAM.sync_scope(stream.clone(), something)
}

/// The state of the stream whose task this is; `None` in HTTP/1.
pub(crate) fn current_stream() -> Option<StreamState> {
    STREAM.try_with(StreamState::clone).ok()
}
