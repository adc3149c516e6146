use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::access_log::Note;
use crate::counters::InRequest;
use crate::drain::DrainQueue;
use crate::end_delay::EndDelay;
use crate::held::{Chunk, Piece, StreamHeld};
use crate::http2::PIECE;
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
    pub(crate) stream: Option<StreamHeld>,
    /// Where an access log is to have the request.
    pub(crate) note: Option<Box<Note>>,
    /// What has been read of the content for an HTTP/2 stream, and is given in pieces.
    rest: Option<(Bytes, Arc<Chunk>)>,
    /// What is to be said behind all data, once the content has ended: trailers, or nothing.
    end: Option<Option<HeaderMap>>,
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

type Polled<D> = Poll<Option<Result<Frame<D>, BodyError>>>;

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
            stream: None,
            note: None,
            rest: None,
            end: None,
            delays_end: false,
            hides_length: false,
        }
    }

    /// Holds back the end, in HTTP/2, while the request's body is drained. A guest may drop that only
    /// when it ends, so that whether there is something to drain is looked at again then.
    ///
    /// Returns whether it does.
    pub(crate) fn delay_end(&mut self) -> bool {
        let queue = self.stream.as_ref().map(StreamHeld::drain_queue);
        self.delays_end = queue.is_some_and(DrainQueue::is_incomplete);
        self.delays_end
    }

    /// The end of the content, which may have to wait until the request's body is drained.
    fn poll_delayed_end(&mut self, cx: &mut Context<'_>) -> Polled<Piece> {
        self.delays_end = false;
        let Some(delay) = self.stream.as_ref().and_then(EndDelay::new) else {
            return Poll::Ready(None);
        };
        self.content = Content::Delayed(delay);
        self.end = None;
        // All that these count has been sent.
        (self.in_request, self.note) = (None, None);
        (self.poll_content(cx)).map_ok(|frame| frame.map_data(Piece::from))
    }

    /// Leaves out all content, and ends whoever writes it.
    pub(crate) fn discard_content(&mut self) {
        if !self.is_end_stream() {
            self.content = Content::Page(None);
            self.rest = None;
        }
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Polled<Bytes> {
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
    fn poll_piece(&mut self, stream: &StreamHeld, cx: &mut Context<'_>) -> Polled<Piece> {
        if self.rest.is_none() && !stream.may_read_on() {
            ready!(stream.poll_written(cx));
        }
        stream.asked();
        if let Some((rest, chunk)) = self.rest.take() {
            return data(self.cut(rest, chunk, stream));
        }
        if self.end.is_none() {
            match ready!(self.poll_content(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if bytes.len() <= PIECE => return data(Piece::whole(bytes, stream)),
                    Ok(bytes) => {
                        let chunk = Chunk::new(bytes.len(), stream);
                        return data(self.cut(bytes, chunk, stream));
                    }
                    Err(frame) => self.end = Some(frame.into_trailers().ok()),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.end = Some(None),
            }
        }
        self.poll_end(stream, cx)
    }

    fn cut(&mut self, mut rest: Bytes, chunk: Arc<Chunk>, stream: &StreamHeld) -> Piece {
        let piece = rest.split_to(rest.len().min(PIECE));
        if !rest.is_empty() {
            self.rest = Some((rest, Arc::clone(&chunk)));
        }
        Piece::of(piece, chunk, stream)
    }

    fn poll_end(&mut self, stream: &StreamHeld, cx: &mut Context<'_>) -> Polled<Piece> {
        let trailers = self.end.as_ref().and_then(Option::as_ref);
        if stream.withholds_end(trailers.map_or(0, bytes_of)) {
            stream.waits();
            ready!(stream.poll_written(cx));
        }
        let trailers = self.end.replace(None).flatten();
        Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))))
    }
}

fn bytes_of(fields: &HeaderMap) -> usize {
    let fields = fields.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

fn data(piece: Piece) -> Polled<Piece> {
    Poll::Ready(Some(Ok(Frame::data(piece))))
}

impl Body for ResponseBody {
    type Data = Piece;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<Piece> {
        if (self.open.as_ref()).is_some_and(|open| open.link().gatherings().is_gathering()) {
            // The connection is polled again when that is over.
            return Poll::Pending;
        }
        let frame = match self.stream.take() {
            None => (self.poll_content(cx)).map_ok(|frame| frame.map_data(Piece::from)),
            Some(stream) => {
                let piece = self.poll_piece(&stream, cx);
                self.stream = Some(stream);
                if self.delays_end && matches!(piece, Poll::Ready(None)) {
                    self.poll_delayed_end(cx)
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
        let is_withheld = || self.stream.as_ref().is_some_and(|it| it.withholds_end(0));
        is_end && self.rest.is_none() && !self.delays_end && !is_withheld()
    }

    /// Asked before the first piece is given.
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
