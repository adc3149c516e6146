//! The response of a guest: when its head goes out, and with which body. Sending it is the caller's part.

pub(crate) mod body;
pub(crate) mod outgoing;

mod framing;

use std::task::{Context, Poll};

use http::Response;

use crate::Failure;
use crate::response::body::Body;
use crate::response::framing::{Framing, frame};
use crate::response::outgoing::{Outgoing, announced_length};
use crate::run::Run;
use crate::sandbox::guest::AHEAD;

/// Polls the guest until there is a response to send, or a failure. `run` is taken then.
pub(crate) fn poll_response(
    run: &mut Option<Run>,
    head_only: bool,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<Body>, Failure>> {
    let Some(current) = run else {
        return Poll::Pending;
    };
    let ended = match current.poll(cx) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    };
    let head = current.take_head();
    if ended.is_none() && head.is_none() {
        return Poll::Pending;
    }
    let Some(current) = run.take() else {
        return Poll::Pending;
    };

    let response = match (head, ended) {
        (None, None) => return Poll::Pending,
        (None, Some(outcome)) => {
            drop(current.into_request(outcome.is_ok()));
            Err(outcome.err().unwrap_or(Failure::NoResponse))
        }
        (Some(Err(code)), ended) => {
            match ended {
                Some(outcome) => {
                    let request = current.into_request(outcome.is_ok());
                    if let Err(failure) = outcome {
                        request.report_after_response(&failure);
                    }
                }
                None => current.detach(),
            }
            Err(Failure::ErrorCode(code))
        }
        (Some(Ok(response)), ended) => {
            let (mut parts, outgoing) = response.into_parts();
            let length = announced_length(&parts.headers);
            let outgoing = Outgoing::new(length, outgoing);
            frame(&mut parts.headers, length, parts.status, head_only)
                .and_then(|framing| body(current, outgoing, framing, ended, cx))
                .map(|body| Response::from_parts(parts, body))
        }
    };
    Poll::Ready(response)
}

/// Turns that a guest gets, after it has set its response, to write something that is read ahead of the head.
const TURNS_AHEAD: u32 = 4;

/// The body of a response. The guest has `ended`, or is still at work.
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
        Some(outcome) => body_of_ended(run, outgoing, framing, outcome, cx),
        None if outgoing.is_open() => Ok(streaming(run, outgoing, framing)),
        None => body_of_working(run, outgoing, framing, cx),
    }
}

/// Reads what the guest has written, or can write at once, before the head goes out. A small response is then
/// complete and goes out in one write with its length, and a guest that fails right after its head can still be
/// answered with an error. Returns how the guest has ended, if it has.
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
        if !outgoing.read_ahead(AHEAD, cx) || run.has_used_its_turn() {
            return None;
        }
    }
    None
}

/// A body that is sent while the guest works.
fn streaming(run: Run, outgoing: Outgoing, framing: Framing) -> Body {
    let body = Body::streaming(outgoing, run, framing.length());
    if framing == Framing::None {
        body.drain();
        return Body::empty();
    }
    body
}

/// The body of a guest that has finished it, and is still at work.
fn body_of_working(
    run: Run,
    outgoing: Outgoing,
    framing: Framing,
    cx: &mut Context<'_>,
) -> Result<Body, Failure> {
    let body = match framing {
        // How a body ends that is not sent does not matter.
        Framing::None => Body::empty(),
        _ => Body::buffered(outgoing, framing.length(), cx).map_err(Failure::Broken)?,
    };
    run.detach();
    Ok(body)
}

/// The body of a guest that has ended.
fn body_of_ended(
    mut run: Run,
    mut outgoing: Outgoing,
    framing: Framing,
    outcome: Result<(), Failure>,
    cx: &mut Context<'_>,
) -> Result<Body, Failure> {
    if !outgoing.settle(outcome.as_ref().err().map(Failure::kind), cx) {
        if framing != Framing::None && run.linger() {
            return Ok(streaming(run, outgoing, framing));
        }
        outgoing.abandon();
    }
    let request = run.into_request(outcome.is_ok());
    if framing == Framing::None {
        // How a body ends that is not sent does not matter; whether the guest has failed does.
        return outcome.map(|()| Body::empty());
    }
    if outgoing.is_open() {
        return Ok(Body::forwarded(
            outgoing,
            request,
            outcome,
            framing.length(),
        ));
    }
    match (Body::buffered(outgoing, framing.length(), cx), outcome) {
        (Ok(body), Ok(())) => Ok(body),
        (Ok(body), Err(failure)) => {
            request.report_after_response(&failure);
            Ok(body)
        }
        // The failure says more than how the body ended because of it.
        (Err(_), Err(failure)) => Err(failure),
        (Err(cut_off), Ok(())) => Err(Failure::Broken(cut_off)),
    }
}
