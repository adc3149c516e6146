use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use engine::{Answer, Application, Body, RequestId};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;
use tokio::time::{Sleep, sleep};

use crate::content::{self, Source};
use crate::response::{announce, oversized, page_fields};
use crate::{Exchange, Gone};

/// Bytes of a response's body that may go with its head. A head alone is most often below the
/// kibibyte that libunit sends without shared memory.
const WITH_HEAD: usize = 16 * 1024;

/// Serves one request: runs it in an instance of its own, and sends what that answers.
///
/// Whatever goes wrong ends in an error page, or, once the head is out, in an exchange that is
/// dropped unfinished, which the client sees. `response_timeout` is for the time from the head to
/// the end; a response that takes longer is cut off.
///
/// Dropping the future cancels the instance and drops the exchange.
pub async fn serve<E: Exchange>(
    application: &Application,
    mut exchange: E,
    response_timeout: Option<Duration>,
) {
    let id = RequestId::next();
    let parts = match exchange.request() {
        Ok(parts) => parts,
        Err(error) => {
            let name = application.name();
            tracing::warn!(application = name, request = %id, "refused: {error}");
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
        // Dropping the guest has told the log.
        None => return,
    };
    if let Some(name) = oversized(response.headers()) {
        tracing::error!(
            application = application.name(),
            request = %id,
            "the name of a response's field has {} bytes, and Unit has room for 255",
            name.len()
        );
        return page(exchange, &method, StatusCode::INTERNAL_SERVER_ERROR, None).await;
    }
    let sending = Sending {
        exchange,
        source,
        deadline: None,
    };
    if let Err(CutShort(limit)) = sending.send(&method, response, response_timeout).await {
        tracing::warn!(
            application = application.name(),
            request = %id,
            "the response took more than {} seconds, and is cut off",
            limit.as_secs_f64()
        );
    }
}

async fn page<E: Exchange>(
    mut exchange: E,
    method: &Method,
    status: StatusCode,
    retry_after: Option<Duration>,
) {
    let text = Answer::page(status);
    let content = if *method == Method::HEAD { &[] } else { &*text };
    let fields = page_fields(status, retry_after);
    let head = poll_fn(|cx| exchange.poll_head(cx, status, &fields, content, true));
    if let Ok(()) = head.await {
        exchange.finish();
    }
}

/// A response on its way.
struct Sending<E> {
    exchange: E,
    source: Source,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// The response took longer than this.
struct CutShort(Duration);

/// What the next poll of a body has.
enum Next {
    Data(Bytes),
    End,
    /// The body is cut off, or the exchange is: neither is to be finished.
    Broken,
    Late,
}

impl<E: Exchange> Sending<E> {
    async fn send(
        mut self,
        method: &Method,
        response: Response<Body>,
        limit: Option<Duration>,
    ) -> Result<(), CutShort> {
        let (mut parts, mut body) = response.into_parts();
        let length = body.size_hint().exact();
        announce(&mut parts.headers, parts.status, method, length);

        // What the guest has written with its head goes out with it.
        let first = poll_fn(|cx| Poll::Ready(first(&mut body, cx))).await;
        let first = match first {
            Some(Next::Data(data)) => data,
            Some(Next::End) | None => Bytes::new(),
            Some(Next::Broken | Next::Late) => return Ok(()),
        };
        let with_head = first.len().min(WITH_HEAD);
        let is_whole = with_head == first.len() && is_over(&body);
        let head = self.head(&parts.headers, parts.status, &first[..with_head], is_whole);
        if head.await.is_err() {
            return Ok(());
        }
        if let Some(limit) = limit.filter(|_| !is_whole) {
            self.deadline = Some(Box::pin(sleep(limit)));
        }
        let late = CutShort(limit.unwrap_or_default());
        let mut data = first.slice(with_head..);
        loop {
            match self.write(data).await {
                Next::Data(_) => {}
                Next::Late => return Err(late),
                Next::End | Next::Broken => return Ok(()),
            }
            if is_over(&body) {
                break;
            }
            data = match self.next(&mut body).await {
                Next::Data(next) => next,
                Next::End => break,
                Next::Late => return Err(late),
                Next::Broken => return Ok(()),
            };
        }
        // A guest with more to do than its response does it in a task of its own from here on.
        drop(body);
        self.source.leave(&mut self.exchange);
        self.exchange.finish();
        Ok(())
    }

    async fn head(
        &mut self,
        fields: &HeaderMap,
        status: StatusCode,
        content: &[u8],
        last: bool,
    ) -> Result<(), Gone> {
        poll_fn(|cx| {
            if self.exchange.poll_cancelled(cx).is_ready() {
                return Poll::Ready(Err(Gone));
            }
            self.exchange.poll_head(cx, status, fields, content, last)
        })
        .await
    }

    /// Sends all of `data`.
    async fn write(&mut self, mut data: Bytes) -> Next {
        poll_fn(|cx| {
            while !data.is_empty() {
                if let Some(end) = self.ended(cx) {
                    return Poll::Ready(end);
                }
                match self.exchange.poll_write(cx, &data) {
                    Poll::Ready(Ok(length)) => drop(data.split_to(length.min(data.len()))),
                    Poll::Ready(Err(Gone)) => return Poll::Ready(Next::Broken),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Next::Data(Bytes::new()))
        })
        .await
    }

    /// Lets the guest work until it has written something.
    async fn next(&mut self, body: &mut Body) -> Next {
        poll_fn(|cx| {
            if let Some(end) = self.ended(cx) {
                return Poll::Ready(end);
            }
            loop {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        // Unit has no room for trailers.
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Next::Data(data));
                        }
                    }
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Next::Broken),
                    Poll::Ready(None) => return Poll::Ready(Next::End),
                    Poll::Pending => {
                        self.source.poll(&mut self.exchange, cx);
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    fn ended(&mut self, cx: &mut Context<'_>) -> Option<Next> {
        if self.exchange.poll_cancelled(cx).is_ready() {
            return Some(Next::Broken);
        }
        let deadline = self.deadline.as_mut()?;
        deadline.as_mut().poll(cx).is_ready().then_some(Next::Late)
    }
}

/// What a body has at once; `None` is nothing yet.
fn first(body: &mut Body, cx: &mut Context<'_>) -> Option<Next> {
    if body.is_end_stream() {
        return Some(Next::End);
    }
    match Pin::new(body).poll_frame(cx) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().ok().map(Next::Data),
        Poll::Ready(Some(Err(_))) => Some(Next::Broken),
        Poll::Ready(None) => Some(Next::End),
        Poll::Pending => None,
    }
}

/// Whether all that was announced has come, or all there is.
fn is_over(body: &Body) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}
