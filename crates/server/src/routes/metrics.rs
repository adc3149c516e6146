//! The response of `"pass": "metrics"`. What is counted, and how the text is written, is not known here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::response::Content;
use crate::response::page;

/// How long a rendered text is reused, so that clients can cause one rendering per second at most.
const LIFETIME: Duration = Duration::from_secs(1);

/// Responses at a time; further requests are answered with 503. Each may keep a text of its own in
/// memory for as long as its client reads.
const RESPONSES: usize = 8;

/// The server's own counters as text, made on demand by a function that may block.
///
/// Cloning is cheap; clones share the text and the limit on responses.
#[derive(Clone)]
pub struct Metrics(Arc<MetricsText>);

struct MetricsText {
    content_type: HeaderValue,
    lifetime: Duration,
    render: Box<dyn Fn() -> String + Send + Sync>,
    places: Arc<Semaphore>,
    /// When the text was made, and the text.
    latest: Mutex<Option<(Instant, Bytes)>>,
}

impl Metrics {
    /// Metrics of this media type. `render` is called at most once a second, on a thread for work that
    /// blocks, and never twice at a time.
    #[must_use]
    pub fn new(
        content_type: HeaderValue,
        render: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        Self::with_lifetime(LIFETIME, content_type, render)
    }

    fn with_lifetime(
        lifetime: Duration,
        content_type: HeaderValue,
        render: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(MetricsText {
            content_type,
            lifetime,
            render: Box::new(render),
            places: Arc::new(Semaphore::new(RESPONSES)),
            latest: Mutex::default(),
        }))
    }

    /// Answers a request with this method, whatever else is in it.
    pub(crate) async fn respond(&self, method: &Method) -> Response<Content> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = page::error(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            let mut response = page::error(StatusCode::SERVICE_UNAVAILABLE);
            let wait = HeaderValue::from(LIFETIME.as_secs());
            response.headers_mut().insert(RETRY_AFTER, wait);
            return response;
        };
        // In a task of its own, so that a client that leaves does not waste the text.
        let text = tokio::spawn(Arc::clone(&self.0).text()).await;
        let Ok(Some(text)) = text else {
            tracing::error!("metrics cannot be rendered; answering 500");
            return page::error(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let length = HeaderValue::from(text.len());
        let body = Bytes::from_owner(HeldText {
            text,
            _place: place,
        });
        let mut response = Response::new(Content::page(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.0.content_type.clone());
        headers.insert(CONTENT_LENGTH, length);
        response
    }
}

impl MetricsText {
    /// The text of the last second, or a new one. `None` if making it panics.
    async fn text(self: Arc<Self>) -> Option<Bytes> {
        let mut latest = self.latest.lock().await;
        if let Some((made, text)) = &*latest
            && made.elapsed() < self.lifetime
        {
            return Some(text.clone());
        }
        let inner = Arc::clone(&self);
        let text = tokio::task::spawn_blocking(move || Bytes::from((inner.render)()));
        let text = text.await.ok()?;
        *latest = Some((Instant::now(), text.clone()));
        Some(text)
    }
}

/// A text that holds a place until its last byte has gone to the client, whichever layer has it.
struct HeldText {
    text: Bytes,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for HeldText {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Buf as _;
    use http_body::Body as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn counting(lifetime: Duration) -> (Metrics, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let content_type = HeaderValue::from_static("text/plain");
        let metrics = Metrics::with_lifetime(lifetime, content_type, move || {
            format!("calls {}\n", counter.fetch_add(1, Ordering::Relaxed) + 1)
        });
        (metrics, calls)
    }

    async fn piece(response: Response<Content>) -> Bytes {
        let mut body = response.into_body();
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        frame.unwrap().unwrap().into_data().ok().unwrap()
    }

    async fn get(metrics: &Metrics) -> Bytes {
        let response = metrics.respond(&Method::GET).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut piece = piece(response).await;
        piece.copy_to_bytes(piece.remaining())
    }

    #[tokio::test]
    async fn metrics_are_cached_for_a_while() {
        let (metrics, calls) = counting(LONG);
        for _ in 0..100 {
            assert_eq!(get(&metrics).await, "calls 1\n");
        }
        let (one, other) = tokio::join!(get(&metrics), get(&metrics));
        assert_eq!((&*one, &*other), (&b"calls 1\n"[..], &b"calls 1\n"[..]));
        assert_eq!(calls.load(Ordering::Relaxed), 1);

        let (metrics, _) = counting(Duration::ZERO);
        assert_eq!(get(&metrics).await, "calls 1\n");
        assert_eq!(get(&metrics).await, "calls 2\n");
    }

    #[tokio::test]
    async fn metrics_are_for_get_and_head_only() {
        let (metrics, calls) = counting(LONG);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let response = metrics.respond(&method).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        let response = metrics.respond(&Method::HEAD).await;
        assert_eq!(response.headers()[CONTENT_LENGTH], "8");
    }

    #[tokio::test]
    async fn metrics_responses_that_are_not_read_are_limited() {
        let (metrics, _) = counting(LONG);
        let mut unread = Vec::new();
        for _ in 0..RESPONSES {
            unread.push(metrics.respond(&Method::GET).await);
        }
        let refused = metrics.respond(&Method::GET).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[RETRY_AFTER], "1");
        // What has left its body counts for as long as it waits in the buffers of a connection.
        let buffered = piece(unread.pop().unwrap()).await;
        let refused = metrics.respond(&Method::GET).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(buffered);
        assert_eq!(get(&metrics).await, "calls 1\n");
    }

    #[tokio::test]
    async fn metrics_that_panic_are_a_500() {
        let content_type = HeaderValue::from_static("text/plain");
        let metrics = Metrics::new(content_type, || std::panic::panic_any("a defect"));
        for _ in 0..2 {
            let response = metrics.respond(&Method::GET).await;
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        }
    }
}
