use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::response::outgoing::Outgoing;
use crate::run::{InProgress, Run};
use crate::{Application, Failure, Http1Trailers, RequestId};

/// The body of a guest's response.
///
/// Polling it runs the guest; dropping it before its end cancels the instance. When the end has
/// come, or the announced `content-length` has been delivered, what the guest still has to do
/// goes on in a task of its own, for at most
/// [`Limits::after_response`](crate::Limits::after_response).
///
/// An error means that the body is cut off: whoever sends it on must make that visible to the
/// client. The reason is in the log already.
pub struct Body(State);

enum State {
    /// Nothing more to come.
    Done,
    /// All of it is there.
    Whole {
        data: Option<Bytes>,
        trailers: Option<Box<HeaderMap>>,
    },
    /// The guest is at work, or has left more than was asked for yet.
    Live(Box<Live>),
}

struct Live {
    outgoing: Outgoing,
    progress: Progress,
    /// Of an announced `content-length`, what has not been delivered yet.
    remaining: Option<u64>,
    /// Nobody is to see this body, so that it does not matter how it ends.
    discarded: bool,
    /// How the body has ended, when that is still to be told.
    cut_off: Option<CutOff>,
    /// The guest has ended, and the host goes on with what it left.
    lingers: bool,
    /// A frame has been delivered since then, or since this was last asked.
    moved: bool,
    /// Which trailers can be sent, unless all can.
    http1_trailers: Option<Http1Trailers>,
}

enum Progress {
    Running(Run),
    Ended(InProgress, Result<(), Failure>),
    /// Only while the variants above change places, and when the body is over.
    Gone,
}

impl Progress {
    fn request(&self) -> Option<&InProgress> {
        match self {
            Self::Running(run) => Some(run.request()),
            Self::Ended(request, _) => Some(request),
            Self::Gone => None,
        }
    }
}

/// Why a body ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CutOff {
    /// The guest failed: a trap, most often.
    #[error("the guest failed before its body was finished")]
    Failed,
    /// The guest dropped its body, or finished it with less than it had announced.
    #[error("the guest dropped its body unfinished, or it is shorter than its content-length")]
    Dropped,
    /// The guest returned without finishing its body.
    #[error("the guest returned without finishing its body")]
    Unfinished,
    /// The guest wrote more than it had announced.
    #[error("the guest's body is longer than its content-length")]
    TooLong,
}

impl Body {
    /// The body of a guest that is still at work.
    pub(crate) fn live(outgoing: Outgoing, run: Run, length: Option<u64>) -> Self {
        Self::of(outgoing, Progress::Running(run), length)
    }

    /// The body of a guest that has ended, and that passes on what others send.
    pub(crate) fn passed_on(
        outgoing: Outgoing,
        request: InProgress,
        outcome: Result<(), Failure>,
        length: Option<u64>,
    ) -> Self {
        Self::of(outgoing, Progress::Ended(request, outcome), length)
    }

    fn of(outgoing: Outgoing, progress: Progress, length: Option<u64>) -> Self {
        let lingers = matches!(&progress, Progress::Running(run) if run.lingers());
        Self(State::Live(Box::new(Live {
            outgoing,
            progress,
            remaining: length,
            discarded: false,
            cut_off: None,
            lingers,
            moved: false,
            http1_trailers: None,
        })))
    }

    /// No body at all.
    pub(crate) fn empty() -> Self {
        Self(State::Done)
    }

    /// A body whose end is known, so that all of it is there.
    ///
    /// # Errors
    ///
    /// When the body is not whole. Nothing of it has been sent then.
    pub(crate) fn whole(
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
            // The host also refuses to finish a body that is too long, which says less.
            (Some(length), _) if total > length => Err(CutOff::TooLong),
            (_, Some(cut_off)) => Err(cut_off),
            (Some(length), None) if total < length => Err(CutOff::Dropped),
            _ => Ok(Self(State::Whole { data, trailers })),
        }
    }

    /// Whether trailers may come.
    #[must_use]
    pub fn may_have_trailers(&self) -> bool {
        match &self.0 {
            State::Done => false,
            State::Whole { trailers, .. } => trailers.is_some(),
            State::Live(_) => true,
        }
    }

    /// Has the log say, once for each application and reason, if trailers come that cannot be sent.
    /// `application` and `id` are those of the request.
    pub fn set_http1(&mut self, application: &Application, id: RequestId, rules: Http1Trailers) {
        match &mut self.0 {
            State::Done => {}
            State::Whole { trailers, .. } => {
                if let Some(trailers) = trailers {
                    application.inner().check_trailers(id, &rules, trailers);
                }
            }
            State::Live(live) => live.http1_trailers = Some(rules),
        }
    }

    /// Lets the guest write a body that nobody is to see, as after `HEAD`.
    pub(crate) fn discard(mut self) {
        let State::Live(live) = &mut self.0 else {
            return;
        };
        live.discarded = true;
        let Progress::Running(run) = &live.progress else {
            return;
        };
        let limit = run
            .request()
            .active
            .application()
            .settings
            .limits
            .after_response;
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
            // Dropping the body at the deadline cancels the instance and says so in the log.
            let _ = tokio::time::timeout(limit, all).await;
        });
    }
}

/// One buffer of both; without copying where there is only one.
fn append(data: Option<Bytes>, piece: Bytes) -> Bytes {
    let Some(data) = data else { return piece };
    // No one else has it from the second piece on, so that it grows where it is.
    let mut all = data
        .try_into_mut()
        .unwrap_or_else(|shared| shared[..].into());
    all.extend_from_slice(&piece);
    all.freeze()
}

impl Live {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(cut_off) = self.cut_off {
            return Poll::Ready(Some(Err(cut_off)));
        }
        let frame = self.next(cx);
        if let Poll::Ready(Some(Err(cut_off))) = frame {
            // A sender drops what it has not flushed when a body fails, the head included. It
            // flushes when there is nothing more to be had for the moment, so that comes first.
            self.cut_off = Some(cut_off);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        frame
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        loop {
            // What has been written comes first, so that a trap takes nothing back.
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
                Progress::Running(mut run) => match run.poll(cx) {
                    Poll::Ready(outcome) => {
                        if !self
                            .outgoing
                            .settle(outcome.as_ref().err().map(Failure::kind), cx)
                        {
                            let may_move = !self.lingers || self.moved;
                            if may_move && run.linger() {
                                (self.lingers, self.moved) = (true, false);
                                self.progress = Progress::Running(run);
                                continue;
                            }
                            self.outgoing.abandon();
                        }
                        let request = run.into_request(outcome.is_ok());
                        self.progress = Progress::Ended(request, outcome);
                    }
                    Poll::Pending => {
                        // The guest may have written before it stopped; its write has woken this
                        // task, so that looking again here would only be work done twice.
                        self.progress = Progress::Running(run);
                        return Poll::Pending;
                    }
                },
                // A body that comes from elsewhere.
                ended @ Progress::Ended(..) => {
                    self.progress = ended;
                    return Poll::Pending;
                }
                Progress::Gone => return Poll::Ready(None),
            }
        }
    }

    fn take(&mut self) -> Progress {
        std::mem::replace(&mut self.progress, Progress::Gone)
    }

    fn deliver(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, CutOff> {
        self.moved = true;
        if let (Some(trailers), Some(rules)) = (frame.trailers_ref(), &self.http1_trailers)
            && let Some(request) = self.progress.request()
        {
            let application = request.active.application();
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

    /// The body is whole. The guest may have more to do.
    fn end(&mut self) {
        match self.take() {
            Progress::Running(run) if run.lingers() => drop(run),
            Progress::Running(run) => run.detach(),
            Progress::Ended(request, Err(failure)) => request.report(&failure),
            Progress::Ended(..) | Progress::Gone => {}
        }
    }

    /// The body is cut off; the log gets the reason, and a guest at work is cancelled.
    fn cut(&mut self, cut_off: CutOff) -> CutOff {
        if self.discarded {
            self.end();
            return cut_off;
        }
        let (request, failure) = match self.take() {
            Progress::Ended(request, outcome) => (request, outcome.err()),
            Progress::Running(mut run) => {
                let failure = run.told();
                (run.into_request(false), failure)
            }
            Progress::Gone => return cut_off,
        };
        let application = request.active.application();
        application.counters.cut_off(failure.as_ref());
        let reason: &dyn fmt::Display = match &failure {
            Some(failure) => failure,
            None => &cut_off,
        };
        tracing::error!(
            application = &*application.settings.name,
            request = %request.id,
            "the response is cut off: {reason}"
        );
        cut_off
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        match self.take() {
            // A sender that has the announced length does not ask for the end.
            Progress::Running(run) if self.remaining == Some(0) && run.lingers() => drop(run),
            Progress::Running(run) if self.remaining == Some(0) => run.detach(),
            Progress::Running(run) if self.discarded => {
                run.log_cancelled("it was still writing a body that is not sent");
            }
            Progress::Running(run) => {
                run.log_cancelled("its connection ended before its response did");
            }
            Progress::Ended(request, Err(failure)) => request.report(&failure),
            Progress::Ended(..) | Progress::Gone => {}
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
            State::Done => Poll::Ready(None),
            State::Whole { data, trailers } => {
                let frame = data
                    .take()
                    .map(Frame::data)
                    .or_else(|| trailers.take().map(|fields| Frame::trailers(*fields)));
                Poll::Ready(frame.map(Ok))
            }
            State::Live(live) => {
                let frame = live.poll_frame(cx);
                if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
                    self.0 = State::Done;
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Done => true,
            State::Whole { data, trailers } => data.is_none() && trailers.is_none(),
            State::Live(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Done => SizeHint::with_exact(0),
            State::Whole { data, trailers } => {
                let length = data.as_ref().map_or(0, Bytes::len) as u64;
                let mut hint = SizeHint::with_exact(length);
                if trailers.is_some() {
                    // HTTP/1 has room for trailers only where no length is announced.
                    hint = SizeHint::new();
                    hint.set_lower(length);
                }
                hint
            }
            State::Live(live) => live
                .remaining
                .map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}
