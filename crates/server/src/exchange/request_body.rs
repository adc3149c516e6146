//! The request body that a handler reads: small pieces gathered, its size and its pauses limited.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use engine::RequestBodyError;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use http_message::{StallTimer, malformed};

use super::client_body::ClientBody;
use super::gathering::GatheredBody;
use crate::link::ConnectionState;
use crate::request::has_outer_whitespace;

/// The fault of a request's body, if it could not be read. It decides the response.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyFault(Arc<OnceLock<RequestBodyError>>);

impl BodyFault {
    /// The status for a request whose body is at fault. It replaces the response of a guest that has seen a part of
    /// the body.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self.0.get()? {
            RequestBodyError::Malformed => Some(StatusCode::BAD_REQUEST),
            RequestBodyError::TooLarge => Some(StatusCode::PAYLOAD_TOO_LARGE),
            RequestBodyError::Timeout => Some(StatusCode::REQUEST_TIMEOUT),
            // There is no client that could read an answer.
            RequestBodyError::Disconnected => None,
        }
    }
}

/// A request's body as the client sends it, with limits on the wait for each piece, and on its size.
pub(crate) struct RequestBody {
    incoming: GatheredBody,
    /// `None` where there is no body that could be at fault.
    fault: Option<BodyFault>,
    stall_timer: StallTimer,
    /// Bytes that may still come.
    left: u64,
}

impl RequestBody {
    pub(crate) fn new(
        incoming: ClientBody,
        timeout: Duration,
        max_size: u64,
        link: &ConnectionState,
    ) -> Self {
        let fault = incoming.has_content().then(BodyFault::default);
        Self {
            incoming: GatheredBody::new(incoming, link),
            fault,
            stall_timer: StallTimer::new(timeout),
            left: max_size,
        }
    }

    /// A handle to the fault of the body, for when the body has been given away.
    pub(crate) fn fault(&self) -> Option<BodyFault> {
        self.fault.clone()
    }

    fn fail(&self, error: RequestBodyError) -> RequestBodyError {
        if let Some(fault) = &self.fault {
            // The first fault is the one that counts.
            let _ = fault.0.set(error);
        }
        error
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.stall_timer.disarm();
                let length = match &frame {
                    Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.len() as u64),
                    Some(Err(_)) | None => 0,
                };
                match self.left.checked_sub(length) {
                    Some(left) => self.left = left,
                    None => return Poll::Ready(Some(Err(self.fail(RequestBodyError::TooLarge)))),
                }
                if let Some(Ok(frame)) = &frame
                    && frame.trailers_ref().is_some_and(has_outer_whitespace)
                {
                    return Poll::Ready(Some(Err(self.fail(RequestBodyError::Malformed))));
                }
                Poll::Ready(frame.map(|frame| frame.map_err(|error| self.fail(kind(&error)))))
            }
            Poll::Pending => {
                ready!(self.stall_timer.poll_expired(cx));
                Poll::Ready(Some(Err(self.fail(RequestBodyError::Timeout))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

fn kind(error: &hyper::Error) -> RequestBodyError {
    if error.is_parse() || malformed(error).is_some() {
        RequestBodyError::Malformed
    } else {
        RequestBodyError::Disconnected
    }
}
