use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::time::timeout_at;

use crate::response::outgoing::{Outgoing, announced_length};
use crate::run::revocable_body::lend;
use crate::run::{InProgress, Run};
use crate::sandbox::guest::AHEAD;
use crate::sandbox::request::RequestBodyError;
use crate::{Application, Body, Failure, RequestId, shared};

impl Application {
    /// Runs the request in an instance, by default one of its own, and returns as soon as the guest has set its
    /// response; the body follows as the guest writes it.
    ///
    /// The guest sees the request's fields in their order, without those for the connection
    /// (RFC 9110, section 7.6.1). Its `scheme`, `authority` and `path-with-query` are the parts of the
    /// request's URI, which must be absolute; which authority that is to have,
    /// [`guest_authority`](Self::guest_authority) says.
    ///
    /// Dropping the future cancels the instance, and so does dropping the body before its end, unless
    /// other requests are in it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when there is no response of the guest's. It is in the log already.
    pub async fn handle<B>(
        &self,
        id: RequestId,
        request: Request<B>,
    ) -> Result<Response<Body>, Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let response = self.serve(id, request).await;
        let status = match &response {
            Ok(response) => response.status(),
            Err(failure) => {
                self.0.report(failure, id);
                failure.answer().status
            }
        };
        self.0.counters.answered(status);
        response
    }

    async fn serve<B>(&self, id: RequestId, request: Request<B>) -> Result<Response<Body>, Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let begun = Instant::now();
        let limit = self.settings().limits.timeout;
        let slot = self.0.gate.enter(limit).await.ok_or(Failure::Busy)?;
        let mut progress = InProgress {
            active: self.begin(slot),
            id,
            lender: None,
        };
        let head_only = request.method() == Method::HEAD;
        let run = if self.0.reuses_instances() {
            let (request, lender) = lend(request, self.settings().limits.after_response);
            progress.lender = Some(lender);
            if self.0.shares_instances() {
                shared::run(self, request, progress).await?
            } else {
                let instance = self.0.instance(id).await?;
                Run::start(instance, request, progress)
            }
        } else {
            let instance = self.0.instance(id).await?;
            Run::start(instance, request, progress)
        };
        let mut waiting = Waiting(Some(run));
        let response = poll_fn(|cx| poll_response(&mut waiting.0, head_only, cx));
        // The wait for an instance counts.
        match within(begun, limit, response).await {
            Some(response) => response,
            None => {
                waiting.0 = None;
                Err(Failure::Timeout(limit))
            }
        }
    }
}

/// What comes of the future, if that is no longer than `limit` after `begun`.
async fn within<F: Future>(begun: Instant, limit: Duration, future: F) -> Option<F::Output> {
    match begun.checked_add(limit) {
        Some(deadline) => timeout_at(deadline.into(), future).await.ok(),
        None => Some(future.await),
    }
}

/// A guest whose response is awaited.
struct Waiting(Option<Run>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(run) = &self.0 {
            run.log_cancelled("its connection ended before it answered");
        }
    }
}

/// Runs the guest until there is a response to send, or none to be had. `run` is taken then.
fn poll_response(
    run: &mut Option<Run>,
    head_only: bool,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<Body>, Failure>> {
    let Some(at_work) = run else {
        return Poll::Pending;
    };
    let ended = match at_work.poll(cx) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    };
    let head = at_work.take_head();
    if ended.is_none() && head.is_none() {
        return Poll::Pending;
    }
    let Some(at_work) = run.take() else {
        return Poll::Pending;
    };

    let response = match (head, ended) {
        (None, None) => return Poll::Pending,
        (None, Some(outcome)) => {
            drop(at_work.into_request(outcome.is_ok()));
            Err(outcome.err().unwrap_or(Failure::NoResponse))
        }
        (Some(Err(code)), ended) => {
            match ended {
                Some(outcome) => {
                    let request = at_work.into_request(outcome.is_ok());
                    if let Err(failure) = outcome {
                        request.report(&failure);
                    }
                }
                None => at_work.detach(),
            }
            Err(Failure::ErrorCode(code))
        }
        (Some(Ok(response)), ended) => {
            let (mut parts, outgoing) = response.into_parts();
            let length = announced_length(&parts.headers);
            let outgoing = Outgoing::new(length, outgoing);
            frame(&mut parts.headers, length, parts.status, head_only)
                .and_then(|framing| body(at_work, outgoing, framing, ended, cx))
                .map(|body| Response::from_parts(parts, body))
        }
    };
    Poll::Ready(response)
}

/// How the message ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// There is no body, whatever the guest writes.
    None,
    /// A body of this length.
    Length(u64),
    /// A body of unknown length.
    Open,
}

impl Framing {
    fn length(self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(length),
            Self::None | Self::Open => None,
        }
    }
}

/// The framing that goes with the head, whose fields announce `length` and are put right.
fn frame(
    headers: &mut HeaderMap,
    length: Option<u64>,
    status: StatusCode,
    head_only: bool,
) -> Result<Framing, Failure> {
    if status.is_informational() {
        return Err(Failure::InterimStatus(status));
    }
    if status == StatusCode::NO_CONTENT {
        // RFC 9110, section 8.6: no `content-length` here.
        headers.remove(CONTENT_LENGTH);
    }
    if status == StatusCode::RESET_CONTENT {
        // RFC 9110, section 15.3.6.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        return Ok(Framing::None);
    }
    if head_only || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::None);
    }
    Ok(length.map_or(Framing::Open, Framing::Length))
}

/// Turns that a guest gets to write what is read before its head goes out.
const TURNS_AHEAD: u32 = 4;

/// The body of a response whose guest has `ended`, or is still at work.
fn body(
    mut run: Run,
    mut outgoing: Outgoing,
    framing: Framing,
    mut ended: Option<Result<(), Failure>>,
    cx: &mut Context<'_>,
) -> Result<Body, Failure> {
    if ended.is_none() {
        ended = read_ahead(&mut run, &mut outgoing, cx);
    }
    match ended {
        Some(outcome) => settled(run, outgoing, framing, outcome, cx),
        None if outgoing.is_open() => Ok(live(run, outgoing, framing)),
        None => finished(run, outgoing, framing, cx),
    }
}

/// Reads what the guest has written, or can write at once: a small response then goes out in one
/// piece, with its length, and a guest that fails right behind its head does so in a way that shows.
/// Returns how it ended, if it did.
fn read_ahead(
    run: &mut Run,
    outgoing: &mut Outgoing,
    cx: &mut Context<'_>,
) -> Option<Result<(), Failure>> {
    outgoing.read_ahead(AHEAD, cx);
    if !run.writes_when_read() {
        return None;
    }
    for _ in 0..TURNS_AHEAD {
        if let Poll::Ready(outcome) = run.poll(cx) {
            return Some(outcome);
        }
        if !outgoing.read_ahead(AHEAD, cx) || run.has_had_its_turn() {
            return None;
        }
    }
    None
}

fn live(run: Run, outgoing: Outgoing, framing: Framing) -> Body {
    let body = Body::live(outgoing, run, framing.length());
    if framing == Framing::None {
        body.discard();
        return Body::empty();
    }
    body
}

/// The guest has finished its body, and goes on.
fn finished(
    run: Run,
    outgoing: Outgoing,
    framing: Framing,
    cx: &mut Context<'_>,
) -> Result<Body, Failure> {
    let body = match framing {
        // What became of a body that is not sent does not matter.
        Framing::None => Body::empty(),
        _ => Body::whole(outgoing, framing.length(), cx).map_err(Failure::Broken)?,
    };
    run.detach();
    Ok(body)
}

/// The guest has ended.
fn settled(
    mut run: Run,
    mut outgoing: Outgoing,
    framing: Framing,
    outcome: Result<(), Failure>,
    cx: &mut Context<'_>,
) -> Result<Body, Failure> {
    if !outgoing.settle(outcome.as_ref().err().map(Failure::kind), cx) {
        if framing != Framing::None && run.linger() {
            return Ok(live(run, outgoing, framing));
        }
        outgoing.abandon();
    }
    let request = run.into_request(outcome.is_ok());
    if framing == Framing::None {
        // What became of a body that is not sent does not matter; whether the guest failed does.
        return outcome.map(|()| Body::empty());
    }
    if outgoing.is_open() {
        return Ok(Body::passed_on(
            outgoing,
            request,
            outcome,
            framing.length(),
        ));
    }
    match (Body::whole(outgoing, framing.length(), cx), outcome) {
        (Ok(body), Ok(())) => Ok(body),
        (Ok(body), Err(failure)) => {
            request.active.application().counters.failed(&failure);
            tracing::error!(
                application = &*request.active.application().settings.name,
                request = %request.id,
                "after its whole response: {failure}"
            );
            Ok(body)
        }
        // Why the guest failed says more than what became of its body.
        (Err(_), Err(failure)) => Err(failure),
        (Err(cut_off), Ok(())) => Err(Failure::Broken(cut_off)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(length: Option<&str>) -> HeaderMap {
        length
            .map(|length| (CONTENT_LENGTH, length.parse().unwrap()))
            .into_iter()
            .collect()
    }

    #[test]
    fn the_framing_follows_status_and_method() {
        let of = |status, length, head| {
            let mut headers = headers(length);
            let length = announced_length(&headers);
            let status = StatusCode::from_u16(status).unwrap();
            frame(&mut headers, length, status, head)
        };
        assert_eq!(of(200, Some("5"), false).unwrap(), Framing::Length(5));
        assert_eq!(of(200, None, false).unwrap(), Framing::Open);
        assert_eq!(of(200, Some("5"), true).unwrap(), Framing::None);
        assert_eq!(of(204, Some("5"), false).unwrap(), Framing::None);
        assert_eq!(of(304, Some("5"), false).unwrap(), Framing::None);
        assert!(matches!(
            of(103, None, false),
            Err(Failure::InterimStatus(_))
        ));
    }

    #[test]
    fn a_205_has_no_content() {
        let mut fields = headers(Some("5"));
        let framing = frame(&mut fields, Some(5), StatusCode::RESET_CONTENT, false).unwrap();
        assert_eq!(framing, Framing::None);
        assert_eq!(fields[CONTENT_LENGTH], "0");
    }

    #[test]
    fn a_204_announces_no_length() {
        let mut fields = headers(Some("5"));
        frame(&mut fields, Some(5), StatusCode::NO_CONTENT, false).unwrap();
        assert!(fields.is_empty());
    }
}
