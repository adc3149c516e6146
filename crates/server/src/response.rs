use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::access_log::Note;
use crate::counters::InRequest;
use crate::drain::DrainQueue;
use crate::end_delay::EndDelay;
use crate::http2::{PIECE, Progress};
use crate::io::{Link, Open};
use crate::upstream::{Proxied, Tunnel};

/// The body of a response, whoever wrote it.
pub(crate) struct ResponseBody {
    content: Content,
    /// What the request counts for, until its response is over.
    pub(crate) in_request: Option<InRequest>,
    /// Where a cut-off body can only be told by a reset of the connection.
    pub(crate) reset: Option<Link>,
    pub(crate) open: Option<Open>,
    /// Of its stream, in HTTP/2.
    pub(crate) progress: Option<Progress>,
    /// Where an access log is to have the request.
    pub(crate) note: Option<Box<Note>>,
    /// What has been read of the content, and is given in pieces.
    rest: Bytes,
    /// The end of the content is not that of the stream yet.
    delays_end: bool,
    /// How long the content is has to show by its end alone.
    pub(crate) hides_length: bool,
}

enum Content {
    Page(Option<Bytes>),
    /// Nothing, once the request's body has been drained.
    Delayed(EndDelay),
    Guest(engine::Body),
    File(static_files::Body),
    /// Apart, so that all others are no larger for it.
    Proxied(Box<Proxied>),
}

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Guest(#[from] engine::CutOff),
    #[error(transparent)]
    File(#[from] static_files::BodyError),
    #[error(transparent)]
    Proxied(#[from] proxy::ProxyError),
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl ResponseBody {
    pub(crate) fn page(text: Bytes) -> Self {
        Self::of(Content::Page(Some(text)))
    }

    pub(crate) fn guest(body: engine::Body) -> Self {
        Self::of(Content::Guest(body))
    }

    pub(crate) fn file(body: static_files::Body) -> Self {
        Self::of(Content::File(body))
    }

    pub(crate) fn proxied(body: Proxied) -> Self {
        Self::of(Content::Proxied(Box::new(body)))
    }

    /// The tunnel that goes on behind a response of 101.
    pub(crate) fn tunnel(&mut self) -> Option<Tunnel> {
        match &mut self.content {
            Content::Proxied(body) => body.tunnel(),
            Content::Page(_) | Content::Delayed(_) | Content::Guest(_) | Content::File(_) => None,
        }
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            in_request: None,
            reset: None,
            open: None,
            progress: None,
            note: None,
            rest: Bytes::new(),
            delays_end: false,
            hides_length: false,
        }
    }

    /// Holds back the end, in HTTP/2, while the request's body is drained. A guest may drop that only
    /// when it ends, so that whether there is something to drain is looked at again then.
    ///
    /// Returns whether it does.
    pub(crate) fn delay_end(&mut self) -> bool {
        let queue = self.progress.as_ref().map(Progress::drain_queue);
        self.delays_end = queue.is_some_and(DrainQueue::is_incomplete);
        self.delays_end
    }

    /// The end of the content, which may have to wait.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Polled {
        self.delays_end = false;
        let Some(delay) = self.progress.as_ref().and_then(EndDelay::new) else {
            return Poll::Ready(None);
        };
        self.content = Content::Delayed(delay);
        // All that these count has been sent.
        (self.in_request, self.note) = (None, None);
        self.poll_content(cx)
    }

    /// Leaves out all content, and ends whoever writes it.
    pub(crate) fn discard_content(&mut self) {
        if !self.is_end_stream() {
            self.content = Content::Page(None);
            self.rest = Bytes::new();
        }
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Polled {
        match &mut self.content {
            Content::Page(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::Delayed(delay) => {
                ready!(delay.poll(cx));
                self.content = Content::Page(None);
                Poll::Ready(None)
            }
            Content::Guest(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Content::File(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Content::Proxied(body) => Pin::new(&mut **body).poll_frame(cx).map_err(Into::into),
        }
    }

    /// The next piece for an HTTP/2 stream.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.rest.is_empty() {
            match ready!(self.poll_content(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let frame = match self.progress.take() {
            None => self.poll_content(cx),
            Some(progress) => {
                progress.asked();
                let piece = self.poll_piece(cx);
                if let Poll::Ready(Some(Ok(_))) = &piece {
                    progress.given();
                }
                self.progress = Some(progress);
                if self.delays_end && matches!(piece, Poll::Ready(None)) {
                    self.poll_end(cx)
                } else {
                    piece
                }
            }
        };
        if let (Poll::Ready(Some(Err(_))), Some(reset)) = (&frame, &self.reset) {
            reset.reset();
        }
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(note), Some(data)) = (&mut self.note, frame.data_ref()) {
                    note.sent += data.len() as u64;
                }
            }
            Poll::Ready(Some(Err(BodyError::File(error)))) => {
                tracing::warn!("a response is cut off: {error}");
            }
            // Those have told the log themselves.
            Poll::Ready(Some(Err(BodyError::Guest(_) | BodyError::Proxied(_))) | None)
            | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let is_end = match &self.content {
            Content::Page(text) => text.is_none(),
            Content::Delayed(_) => false,
            Content::Guest(body) => body.is_end_stream(),
            Content::File(body) => body.is_end_stream(),
            Content::Proxied(body) => body.is_end_stream(),
        };
        is_end && self.rest.is_empty() && !self.delays_end
    }

    /// Asked before the first piece is.
    fn size_hint(&self) -> SizeHint {
        if self.hides_length {
            return SizeHint::default();
        }
        match &self.content {
            Content::Page(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Content::Delayed(_) => SizeHint::with_exact(0),
            Content::Guest(body) => body.size_hint(),
            Content::File(body) => body.size_hint(),
            Content::Proxied(body) => body.size_hint(),
        }
    }
}
