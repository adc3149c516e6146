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

use crate::content::{self, Source};
use crate::response::{announce, confine, oversized};
use crate::{Exchange, Gone, Options};

/// Bytes of a response's body that may go with its head: with the head of most, they fill less than
/// one chunk of shared memory, so that no neighbouring ones have to be found.
const WITH_HEAD: usize = 12 * 1024;

/// Serves one request: runs it in an instance of its own, and sends what that answers.
///
/// Whatever goes wrong ends in an error page, or, once the head is out, in an exchange that is
/// dropped unfinished, which the client sees. So does a response that takes longer than the options
/// allow.
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
    if source.is_short() {
        // Unit had announced more, so that what the guest made of it is not what it was asked for.
        return page(exchange, &method, StatusCode::INTERNAL_SERVER_ERROR, None).await;
    }
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
        times: Times::default(),
    };
    if let Err(late) = sending.send(&method, response, options).await {
        tracing::warn!(application = application.name(), request = %id, "{late}");
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

/// A response on its way.
struct Sending<E> {
    exchange: E,
    source: Source,
    times: Times,
}

/// When a response is cut off. Set when it does not go out at once.
#[derive(Default)]
struct Times {
    are_set: bool,
    end: Option<(Duration, Pin<Box<Sleep>>)>,
    next: Option<(Duration, Pin<Box<Sleep>>)>,
}

/// A response that took too long.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Late {
    #[error("the response took more than {} seconds, and is cut off", .0.as_secs_f64())]
    End(Duration),
    #[error("nothing could be sent for {} seconds, and Unit has given it up", .0.as_secs_f64())]
    Next(Duration),
}

impl Times {
    fn set(&mut self, options: &Options) {
        if !self.are_set {
            let timer = |limit: Option<Duration>| limit.map(|it| (it, Box::pin(sleep(it))));
            *self = Self {
                are_set: true,
                end: timer(options.response_timeout),
                next: timer(options.silence),
            };
        }
    }

    /// Something has been sent.
    fn sent(&mut self) {
        if let Some((limit, next)) = &mut self.next {
            next.as_mut().reset(Instant::now() + *limit);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Late> {
        if let Some((limit, end)) = &mut self.end
            && end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Late::End(*limit));
        }
        match &mut self.next {
            Some((limit, next)) => next.as_mut().poll(cx).map(|()| Late::Next(*limit)),
            None => Poll::Pending,
        }
    }
}

/// What the next poll of a body has.
enum Next {
    Data(Bytes),
    End,
    /// The body is cut off, or the exchange is: neither is to be finished.
    Broken,
    Late(Late),
}

impl<E: Exchange> Sending<E> {
    async fn send(
        mut self,
        method: &Method,
        response: Response<Body>,
        options: &Options,
    ) -> Result<(), Late> {
        let (mut parts, mut body) = response.into_parts();
        confine(&mut parts.headers);
        let length = body.size_hint().exact();
        announce(&mut parts.headers, parts.status, method, length);

        // What the guest has written with its head goes out with it.
        let first = poll_fn(|cx| Poll::Ready(first(&mut body, cx))).await;
        let first = match first {
            Some(Next::Data(data)) => data,
            Some(Next::End) | None => Bytes::new(),
            Some(Next::Broken | Next::Late(_)) => return Ok(()),
        };
        let with_head = first.len().min(WITH_HEAD);
        let is_whole = with_head == first.len() && is_over(&body);
        if !is_whole {
            self.times.set(options);
        }
        let head = self.head(&parts, &first[..with_head], is_whole, options);
        match head.await {
            Next::Late(late) => return Err(late),
            Next::Broken => return Ok(()),
            Next::Data(_) | Next::End => {}
        }
        let mut data = first.slice(with_head..);
        loop {
            match self.write(data).await {
                Next::Data(_) => {}
                Next::Late(late) => return Err(late),
                Next::End | Next::Broken => return Ok(()),
            }
            if is_over(&body) {
                break;
            }
            data = match self.next(&mut body).await {
                Next::Data(next) => next,
                Next::End => break,
                Next::Late(late) => return Err(late),
                Next::Broken => return Ok(()),
            };
        }
        // A guest with more to do than its response does it in a task of its own from here on.
        drop(body);
        if self.source.is_short() {
            return Ok(());
        }
        self.source.leave(&mut self.exchange);
        self.exchange.finish();
        Ok(())
    }

    async fn head(&mut self, parts: &Parts, content: &[u8], last: bool, options: &Options) -> Next {
        let (status, fields) = (parts.status, &parts.headers);
        poll_fn(|cx| {
            match self.exchange.poll_head(cx, status, fields, content, last) {
                Poll::Ready(Ok(())) => return Poll::Ready(Next::Data(Bytes::new())),
                Poll::Ready(Err(Gone)) => return Poll::Ready(Next::Broken),
                Poll::Pending => self.times.set(options),
            }
            match self.ended(cx) {
                Some(end) => Poll::Ready(end),
                None => Poll::Pending,
            }
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
                    Poll::Ready(Ok(length)) => {
                        drop(data.split_to(length.min(data.len())));
                        self.times.sent();
                    }
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
        match self.times.poll(cx) {
            Poll::Ready(late) => Some(Next::Late(late)),
            Poll::Pending => None,
        }
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
