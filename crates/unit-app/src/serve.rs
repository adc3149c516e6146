//! One request under Unit, from its head to the end of its response.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use engine::{Answer, Application, Body, RequestId};
use http::response::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_message::error_page;
use tokio::time::{Instant, Sleep, sleep};

use crate::content::{self, ContentSource};
use crate::environment::RESPONSE_TIMEOUT;
use crate::response::{MAX_NAME, announce, oversized, remove_reserved};
use crate::{Exchange, Options, ResponseRefused};

/// The most bytes of a response's body that are sent with its head: with most heads they fit into one
/// chunk of shared memory (16 KiB), so that no neighbouring free chunks have to be found.
const MAX_WITH_HEAD: usize = 12 * 1024;

/// Serves one request: runs it in an instance, and sends the response.
///
/// Every failure ends in an error page, or, once the head has been sent, in an exchange that is dropped
/// unfinished: the client sees that the response is cut off. So does a response that takes longer than
/// the options allow.
///
/// Dropping the future cancels the instance and drops the exchange.
pub async fn serve<E: Exchange>(application: &Application, mut exchange: E, options: &Options) {
    let id = RequestId::next();
    let parts = match exchange.request() {
        Ok(mut parts) => {
            application.guest_authority().apply(&mut parts);
            parts
        }
        Err(error) => {
            let name = application.name();
            tracing::warn!(application = name, request = %id, "bad request: {error}; answering 400");
            return page(exchange, &Method::GET, StatusCode::BAD_REQUEST, None).await;
        }
    };
    let method = parts.method.clone();
    let (content, mut source) = content::pair(exchange.content_length());
    let request = Request::from_parts(parts, content);
    let response = {
        let mut response = pin!(application.handle(id, request));
        poll_fn(|cx| {
            if exchange.poll_cancelled(cx).is_ready() {
                return Poll::Ready(None);
            }
            let response = response.as_mut().poll(cx);
            if response.is_pending() {
                source.poll(&mut exchange, cx);
            }
            response.map(Some)
        })
        .await
    };
    let response = match response {
        Some(Ok(response)) => response,
        Some(Err(failure)) => {
            let Answer {
                status,
                retry_after,
            } = failure.answer();
            return page(exchange, &method, status, retry_after).await;
        }
        // Unit has given the request up. The engine logs the cancellation when the guest is dropped.
        None => return,
    };
    if source.is_short() {
        // The guest's response is not one to the client's request.
        tracing::warn!(
            application = application.name(),
            request = %id,
            "the request's body ended before its announced length; answering 500"
        );
        return page(exchange, &method, StatusCode::INTERNAL_SERVER_ERROR, None).await;
    }
    if let Some(name) = oversized(response.headers()) {
        tracing::error!(
            application = application.name(),
            request = %id,
            "a response field's name has {} bytes, but Unit's protocol allows at most {MAX_NAME}; answering 500",
            name.len()
        );
        return page(exchange, &method, StatusCode::INTERNAL_SERVER_ERROR, None).await;
    }
    let response_writer = ResponseWriter {
        exchange,
        source,
        deadlines: Deadlines::default(),
    };
    if let Err(error) = response_writer.send(&method, response, options).await {
        tracing::warn!(application = application.name(), request = %id, "{error}");
    }
}

async fn page<E: Exchange>(
    mut exchange: E,
    method: &Method,
    status: StatusCode,
    retry_after: Option<Duration>,
) {
    let (head, text) = error_page(status, retry_after).into_parts();
    let content = if *method == Method::HEAD { &[] } else { &*text };
    let sent = poll_fn(|cx| exchange.poll_head(cx, status, &head.headers, content, true));
    if let Ok(()) = sent.await {
        exchange.finish();
    }
}

/// Sends a response.
struct ResponseWriter<E> {
    exchange: E,
    source: ContentSource,
    deadlines: Deadlines,
}

/// When a response is cut off. Armed only when it cannot be sent at once, to spare most responses the
/// timers.
#[derive(Default)]
struct Deadlines {
    armed: bool,
    /// Of the whole response.
    end: Option<(Duration, Pin<Box<Sleep>>)>,
    /// Of the next progress.
    progress: Option<(Duration, Pin<Box<Sleep>>)>,
}

/// A response that took too long.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum TimedOut {
    #[error("the response took more than {} seconds ({RESPONSE_TIMEOUT}); cutting it off", .0.as_secs_f64())]
    Response(Duration),
    #[error("no progress for {} seconds (limits.timeout), so Unit has given the response up; cutting it off", .0.as_secs_f64())]
    Progress(Duration),
}

impl Deadlines {
    fn arm(&mut self, options: &Options) {
        if !self.armed {
            let timer = |limit: Option<Duration>| limit.map(|it| (it, Box::pin(sleep(it))));
            *self = Self {
                armed: true,
                end: timer(options.response_timeout),
                progress: timer(options.progress_timeout),
            };
        }
    }

    /// Part of the response has been sent.
    fn reset_progress(&mut self) {
        if let Some((limit, progress)) = &mut self.progress {
            progress.as_mut().reset(Instant::now() + *limit);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TimedOut> {
        if let Some((limit, end)) = &mut self.end
            && end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(TimedOut::Response(*limit));
        }
        match &mut self.progress {
            Some((limit, progress)) => progress
                .as_mut()
                .poll(cx)
                .map(|()| TimedOut::Progress(*limit)),
            None => Poll::Pending,
        }
    }
}

/// The result of one step of a response.
enum Step {
    Data(Bytes),
    End,
    /// The guest has failed, or Unit has given the request up. The exchange must not be finished.
    Broken,
    TimedOut(TimedOut),
}

impl<E: Exchange> ResponseWriter<E> {
    async fn send(
        mut self,
        method: &Method,
        response: Response<Body>,
        options: &Options,
    ) -> Result<(), TimedOut> {
        let (mut parts, mut body) = response.into_parts();
        remove_reserved(&mut parts.headers);
        let length = body.size_hint().exact();
        announce(&mut parts.headers, parts.status, method, length);

        // What the guest has already written is sent with the head.
        let first = poll_fn(|cx| Poll::Ready(first(&mut body, cx))).await;
        let first = match first {
            Some(Step::Data(data)) => data,
            Some(Step::End) | None => Bytes::new(),
            // The guest has failed before its first byte, so that the client can still get an error page.
            Some(Step::Broken | Step::TimedOut(_)) => {
                page(
                    self.exchange,
                    method,
                    StatusCode::INTERNAL_SERVER_ERROR,
                    None,
                )
                .await;
                return Ok(());
            }
        };
        let with_head = first.len().min(MAX_WITH_HEAD);
        let is_whole = with_head == first.len() && is_over(&body);
        if !is_whole {
            self.deadlines.arm(options);
        }
        let head = self.head(&parts, &first[..with_head], is_whole, options);
        match head.await {
            Step::TimedOut(error) => return Err(error),
            Step::Broken => return Ok(()),
            Step::Data(_) | Step::End => {}
        }
        let mut data = first.slice(with_head..);
        loop {
            match self.write(data).await {
                Step::Data(_) => {}
                Step::TimedOut(error) => return Err(error),
                Step::End | Step::Broken => return Ok(()),
            }
            if is_over(&body) {
                break;
            }
            data = match self.next(&mut body).await {
                Step::Data(next) => next,
                Step::End => break,
                Step::TimedOut(error) => return Err(error),
                Step::Broken => return Ok(()),
            };
        }
        // From here on, a guest with more to do than its response runs in a task of its own.
        drop(body);
        if self.source.is_short() {
            return Ok(());
        }
        self.source.retain(&mut self.exchange);
        self.exchange.finish();
        Ok(())
    }

    async fn head(&mut self, parts: &Parts, content: &[u8], last: bool, options: &Options) -> Step {
        let (status, fields) = (parts.status, &parts.headers);
        poll_fn(|cx| {
            match self.exchange.poll_head(cx, status, fields, content, last) {
                Poll::Ready(Ok(())) => return Poll::Ready(Step::Data(Bytes::new())),
                Poll::Ready(Err(ResponseRefused)) => return Poll::Ready(Step::Broken),
                Poll::Pending => self.deadlines.arm(options),
            }
            match self.ended(cx) {
                Some(end) => Poll::Ready(end),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Sends all of `data`.
    async fn write(&mut self, mut data: Bytes) -> Step {
        poll_fn(|cx| {
            while !data.is_empty() {
                if let Some(end) = self.ended(cx) {
                    return Poll::Ready(end);
                }
                match self.exchange.poll_write(cx, &data) {
                    Poll::Ready(Ok(length)) => {
                        drop(data.split_to(length.min(data.len())));
                        self.deadlines.reset_progress();
                    }
                    Poll::Ready(Err(ResponseRefused)) => return Poll::Ready(Step::Broken),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Step::Data(Bytes::new()))
        })
        .await
    }

    /// Runs the guest until it has written something.
    async fn next(&mut self, body: &mut Body) -> Step {
        poll_fn(|cx| {
            if let Some(end) = self.ended(cx) {
                return Poll::Ready(end);
            }
            loop {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        // Trailers are dropped: Unit's protocol has none.
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Step::Data(data));
                        }
                    }
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Step::Broken),
                    Poll::Ready(None) => return Poll::Ready(Step::End),
                    Poll::Pending => {
                        self.source.poll(&mut self.exchange, cx);
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    fn ended(&mut self, cx: &mut Context<'_>) -> Option<Step> {
        if self.exchange.poll_cancelled(cx).is_ready() {
            return Some(Step::Broken);
        }
        match self.deadlines.poll(cx) {
            Poll::Ready(error) => Some(Step::TimedOut(error)),
            Poll::Pending => None,
        }
    }
}

/// What a body yields at once; `None` if the guest has to run for it.
fn first(body: &mut Body, cx: &mut Context<'_>) -> Option<Step> {
    if body.is_end_stream() {
        return Some(Step::End);
    }
    match Pin::new(body).poll_frame(cx) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().ok().map(Step::Data),
        Poll::Ready(Some(Err(_))) => Some(Step::Broken),
        Poll::Ready(None) => Some(Step::End),
        Poll::Pending => None,
    }
}

/// Whether the body has ended, or all of its announced length has been read.
fn is_over(body: &Body) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::advance;

    use super::*;

    fn armed(response: u64, progress: u64) -> Deadlines {
        let mut options = Options::take(&mut Vec::new(), None).unwrap();
        options.response_timeout = Some(Duration::from_secs(response));
        options.progress_timeout = Some(Duration::from_secs(progress));
        let mut deadlines = Deadlines::default();
        deadlines.arm(&options);
        deadlines
    }

    fn poll(deadlines: &mut Deadlines) -> Poll<TimedOut> {
        deadlines.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_without_progress_times_out() {
        let mut deadlines = armed(60, 2);
        advance(Duration::from_millis(1900)).await;
        assert!(poll(&mut deadlines).is_pending());
        advance(Duration::from_millis(200)).await;
        assert!(matches!(
            poll(&mut deadlines),
            Poll::Ready(TimedOut::Progress(limit)) if limit == Duration::from_secs(2)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn progress_does_not_extend_the_response_timeout() {
        let mut deadlines = armed(5, 2);
        for _ in 0..3 {
            advance(Duration::from_millis(1500)).await;
            assert!(poll(&mut deadlines).is_pending());
            deadlines.reset_progress();
        }
        advance(Duration::from_millis(600)).await;
        assert!(matches!(
            poll(&mut deadlines),
            Poll::Ready(TimedOut::Response(limit)) if limit == Duration::from_secs(5)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_sent_at_once_has_no_timers() {
        let mut deadlines = Deadlines::default();
        deadlines.reset_progress();
        advance(Duration::from_secs(100_000)).await;
        assert!(poll(&mut deadlines).is_pending());
    }
}
