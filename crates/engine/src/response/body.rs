//! The body of a response, as the caller gets it: polling it runs the guest. What the guest has written but not
//! yet been polled for is in [`outgoing`](crate::response::outgoing).

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::failure::cut_off::CutOff;
use crate::response::outgoing::Outgoing;
use crate::run::{RequestInProgress, Run};
use crate::trailers::Http1Trailers;
use crate::{Application, Failure, RequestId};

/// The body of a guest's response.
///
/// Polling it runs the guest; dropping it before its end cancels the instance. After the end, or when the announced
/// `content-length` has been delivered, the guest may continue in a task of its own, for at most
/// [`Limits::after_response`](crate::Limits::after_response).
///
/// An error means that the body is cut off: the caller has to make that visible to the client. The
/// reason is logged already. A caller that gives the body to hyper wraps it in [`FlushFirst`], as
/// [`ApplicationService`] does, or the client may lose what came before the error.
///
/// [`ApplicationService`]: crate::ApplicationService
/// [`FlushFirst`]: crate::FlushFirst
pub struct Body(BodyState);

enum BodyState {
    /// At its end.
    Done,
    /// All of it is in memory.
    Buffered {
        data: Option<Bytes>,
        trailers: Option<Box<HeaderMap>>,
    },
    /// The guest is at work, or has left more than has been polled for.
    Streaming(Box<StreamingBody>),
}

struct StreamingBody {
    outgoing: Outgoing,
    producer: Producer,
    /// What has not been delivered yet of an announced `content-length`, in bytes.
    remaining: Option<u64>,
    /// The body is not sent, so that it does not matter how it ends.
    discarded: bool,
    /// The guest has ended, and the host works on what it has left.
    lingers: bool,
    /// A frame has been delivered since the host last began to linger.
    progressed: bool,
    /// Which trailers can be sent; `None` if all can.
    http1_trailers: Option<Http1Trailers>,
}

/// Who still writes the body.
enum Producer {
    Running(Run),
    /// The guest has ended, and its body is forwarded from elsewhere or in memory.
    Ended(RequestInProgress, Result<(), Failure>),
    /// Only while the variants above change places, and when the body has ended.
    Taken,
}

impl Producer {
    fn request(&self) -> Option<&RequestInProgress> {
        match self {
            Self::Running(run) => Some(run.request()),
            Self::Ended(request, _) => Some(request),
            Self::Taken => None,
        }
    }
}

impl Body {
    /// The body of a guest that is still at work.
    pub(crate) fn streaming(outgoing: Outgoing, run: Run, length: Option<u64>) -> Self {
        Self::of(outgoing, Producer::Running(run), length)
    }

    /// The body of a guest that has ended, and that forwards a body from elsewhere.
    pub(crate) fn forwarded(
        outgoing: Outgoing,
        request: RequestInProgress,
        outcome: Result<(), Failure>,
        length: Option<u64>,
    ) -> Self {
        Self::of(outgoing, Producer::Ended(request, outcome), length)
    }

    fn of(outgoing: Outgoing, producer: Producer, length: Option<u64>) -> Self {
        let lingers = matches!(&producer, Producer::Running(run) if run.lingers());
        Self(BodyState::Streaming(Box::new(StreamingBody {
            outgoing,
            producer,
            remaining: length,
            discarded: false,
            lingers,
            progressed: false,
            http1_trailers: None,
        })))
    }

    /// A response without a body.
    pub(crate) fn empty() -> Self {
        Self(BodyState::Done)
    }

    /// A body whose end is known, so that all of it can be read now.
    ///
    /// # Errors
    ///
    /// When the body is incomplete. Nothing of it has been sent then.
    pub(crate) fn buffered(
        mut outgoing: Outgoing,
        length: Option<u64>,
        cx: &mut Context<'_>,
    ) -> Result<Self, CutOff> {
        let mut data = None;
        let mut trailers = None;
        let mut cut_off = None;
        while let Poll::Ready(Some(frame)) = outgoing.poll(cx) {
            match frame.map(Frame::into_data) {
                Ok(Ok(piece)) => data = Some(append(data, piece)),
                Ok(Err(frame)) => trailers = frame.into_trailers().ok().map(Box::new),
                Err(why) => {
                    cut_off = Some(why);
                    break;
                }
            }
        }
        let total = data.as_ref().map_or(0, Bytes::len) as u64;
        match (length, cut_off) {
            // First, since a body that is too long is also cut off by the host, with an error that says less.
            (Some(length), _) if total > length => Err(CutOff::TooLong),
            (_, Some(cut_off)) => Err(cut_off),
            (Some(length), None) if total < length => Err(CutOff::Dropped),
            _ => Ok(Self(BodyState::Buffered { data, trailers })),
        }
    }

    /// Whether trailers may follow.
    #[must_use]
    pub fn may_have_trailers(&self) -> bool {
        match &self.0 {
            BodyState::Done => false,
            BodyState::Buffered { trailers, .. } => trailers.is_some(),
            BodyState::Streaming(_) => true,
        }
    }

    /// Checks trailers against the rules of HTTP/1, and logs those that cannot be sent, once per application
    /// and reason. `application` and `id` are those of the request.
    pub fn set_http1(&mut self, application: &Application, id: RequestId, rules: Http1Trailers) {
        match &mut self.0 {
            BodyState::Done => {}
            BodyState::Buffered { trailers, .. } => {
                if let Some(trailers) = trailers {
                    application.inner().check_trailers(id, &rules, trailers);
                }
            }
            BodyState::Streaming(live) => live.http1_trailers = Some(rules),
        }
    }

    /// Reads and discards the body in a task of its own, so that the guest can finish it, as for `HEAD`.
    pub(crate) fn drain(mut self) {
        let BodyState::Streaming(live) = &mut self.0 else {
            return;
        };
        live.discarded = true;
        let Producer::Running(run) = &live.producer else {
            return;
        };
        let settings = run.request().in_flight.application().settings();
        let limit = settings.limits.after_response;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let all = poll_fn(|cx| {
                loop {
                    match http_body::Body::poll_frame(Pin::new(&mut self), cx) {
                        Poll::Ready(Some(Ok(_))) => {}
                        Poll::Ready(_) => return Poll::Ready(()),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            });
            // Dropping the body at the deadline cancels the instance, and logs that.
            let _ = tokio::time::timeout(limit, all).await;
        });
    }
}

/// Concatenates both. A single piece is not copied.
fn append(data: Option<Bytes>, piece: Bytes) -> Bytes {
    let Some(data) = data else { return piece };
    // From the second piece on the buffer is unique, and grows in place.
    let mut all = data
        .try_into_mut()
        .unwrap_or_else(|shared| shared[..].into());
    all.extend_from_slice(&piece);
    all.freeze()
}

impl StreamingBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        loop {
            // What has been written goes first: a trap does not take it back.
            match self.outgoing.poll(cx) {
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(self.deliver(frame))),
                Poll::Ready(Some(Err(cut_off))) => {
                    return Poll::Ready(Some(Err(self.cut(cut_off))));
                }
                Poll::Ready(None) if self.remaining.is_some_and(|left| left > 0) => {
                    return Poll::Ready(Some(Err(self.cut(CutOff::Dropped))));
                }
                Poll::Ready(None) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            match self.take() {
                Producer::Running(mut run) => match run.poll(cx) {
                    Poll::Ready(outcome) => {
                        if !self
                            .outgoing
                            .settle(outcome.as_ref().err().map(Failure::kind), cx)
                        {
                            let may_progress = !self.lingers || self.progressed;
                            if may_progress && run.linger() {
                                (self.lingers, self.progressed) = (true, false);
                                self.producer = Producer::Running(run);
                                continue;
                            }
                            self.outgoing.abandon();
                        }
                        let request = run.into_request(outcome.is_ok());
                        self.producer = Producer::Ended(request, outcome);
                    }
                    Poll::Pending => {
                        // The guest may have written before it yielded. Its write has woken this task, so the
                        // output is not checked again here.
                        self.producer = Producer::Running(run);
                        return Poll::Pending;
                    }
                },
                // A body that is forwarded from elsewhere.
                ended @ Producer::Ended(..) => {
                    self.producer = ended;
                    return Poll::Pending;
                }
                Producer::Taken => return Poll::Ready(None),
            }
        }
    }

    fn take(&mut self) -> Producer {
        std::mem::replace(&mut self.producer, Producer::Taken)
    }

    fn deliver(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, CutOff> {
        self.progressed = true;
        if let (Some(trailers), Some(rules)) = (frame.trailers_ref(), &self.http1_trailers)
            && let Some(request) = self.producer.request()
        {
            let application = request.in_flight.application();
            application.check_trailers(request.id, rules, trailers);
        }
        if let (Some(data), Some(remaining)) = (frame.data_ref(), self.remaining) {
            match remaining.checked_sub(data.len() as u64) {
                Some(rest) => self.remaining = Some(rest),
                None => return Err(self.cut(CutOff::TooLong)),
            }
        }
        Ok(frame)
    }

    /// The body is complete. The guest may have more to do.
    fn end(&mut self) {
        match self.take() {
            Producer::Running(run) if run.lingers() => drop(run),
            Producer::Running(run) => run.detach(),
            Producer::Ended(request, Err(failure)) => request.report_after_response(&failure),
            Producer::Ended(..) | Producer::Taken => {}
        }
    }

    /// Cuts the body off: logs the reason, and cancels a guest at work.
    fn cut(&mut self, cut_off: CutOff) -> CutOff {
        if self.discarded {
            self.end();
            return cut_off;
        }
        let (request, failure) = match self.take() {
            Producer::Ended(request, outcome) => (request, outcome.err()),
            Producer::Running(mut run) => {
                let failure = run.take_failure();
                (run.into_request(false), failure)
            }
            Producer::Taken => return cut_off,
        };
        let application = request.in_flight.application();
        application.counters.cut_off(failure.as_ref());
        let reason: &dyn fmt::Display = match &failure {
            Some(failure) => failure,
            None => &cut_off,
        };
        tracing::error!(
            application = &*application.settings().name,
            request = %request.id,
            "the response is cut off: {reason}"
        );
        cut_off
    }
}

impl Drop for StreamingBody {
    fn drop(&mut self) {
        match self.take() {
            // hyper does not poll for the end once it has the announced length.
            Producer::Running(run) if self.remaining == Some(0) && run.lingers() => drop(run),
            Producer::Running(run) if self.remaining == Some(0) => run.detach(),
            Producer::Running(run) if self.discarded => {
                run.log_cancelled("the guest was still writing a body that is not sent");
            }
            Producer::Running(run) => {
                run.log_cancelled("the client's connection ended before the end of the response");
            }
            Producer::Ended(request, Err(failure)) => request.report_after_response(&failure),
            Producer::Ended(..) | Producer::Taken => {}
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match &mut self.0 {
            BodyState::Done => Poll::Ready(None),
            BodyState::Buffered { data, trailers } => {
                let frame = data
                    .take()
                    .map(Frame::data)
                    .or_else(|| trailers.take().map(|fields| Frame::trailers(*fields)));
                Poll::Ready(frame.map(Ok))
            }
            BodyState::Streaming(live) => {
                let frame = live.poll_frame(cx);
                if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
                    self.0 = BodyState::Done;
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            BodyState::Done => true,
            BodyState::Buffered { data, trailers } => data.is_none() && trailers.is_none(),
            BodyState::Streaming(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodyState::Done => SizeHint::with_exact(0),
            BodyState::Buffered { data, trailers } => {
                let length = data.as_ref().map_or(0, Bytes::len) as u64;
                let mut hint = SizeHint::with_exact(length);
                if trailers.is_some() {
                    // HTTP/1 can carry trailers only where no length is announced.
                    hint = SizeHint::new();
                    hint.set_lower(length);
                }
                hint
            }
            BodyState::Streaming(live) => live
                .remaining
                .map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}
