use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::end_delay::EndDelay;
use super::proxied::Proxied;
use crate::access_log::Note;
use crate::counters::InRequest;
use crate::held::{Chunk, Piece, STREAM_PIECE, StreamState};
use crate::link::{Link, Open};

/// The body of a response, whoever wrote it.
pub(crate) struct ResponseBody {
    content: Content,
    /// What the request counts for, until its response is over.
    pub(crate) in_request: Option<InRequest>,
    /// Where a cut-off body can only be told by a reset of the connection.
    pub(crate) reset: Option<Link>,
    pub(crate) open: Option<Open>,
    /// In HTTP/2. Apart, so that bodies of HTTP/1 are none the larger for it.
    stream: Option<Box<StreamBody>>,
    /// Where an access log is to have the request.
    pub(crate) note: Option<Box<Note>>,
    /// The head says that the connection is closed after this.
    pub(crate) closes_connection: bool,
}

/// What a response's body has beside where it goes to an HTTP/2 stream.
struct StreamBody {
    state: StreamState,
    /// What has been read of the content, and is given in pieces.
    rest: Option<(Bytes, Arc<Chunk>)>,
    /// What is to be said behind all data, once the content has ended: trailers, or nothing.
    end: Option<Option<HeaderMap>>,
    /// The end of the content is not that of the stream yet.
    delays_end: bool,
    /// How long the content is has to show by its end alone.
    hides_length: bool,
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
    pub(crate) fn tunnel(&mut self) -> Option<proxy::Tunnel> {
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
            closes_connection: false,
        }
    }

    /// Has the content go to this stream of HTTP/2.
    pub(crate) fn set_stream(&mut self, state: StreamState) {
        self.stream = Some(Box::new(StreamBody {
            state,
            rest: None,
            end: None,
            delays_end: false,
            hides_length: false,
        }));
    }

    /// Says nothing of how long the content is, in HTTP/2.
    pub(crate) fn hide_length(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.hides_length = true;
        }
    }

    /// Holds back the end, in HTTP/2, while the request's body is drained. A guest may drop that only
    /// when it ends, so that whether there is something to drain is looked at again then.
    ///
    /// Returns whether it does.
    pub(crate) fn delay_end(&mut self) -> bool {
        let Some(stream) = &mut self.stream else {
            return false;
        };
        stream.delays_end = stream.state.drain_queue().is_incomplete();
        stream.delays_end
    }

    /// The end of the content, which may have to wait until the request's body is drained.
    fn poll_delayed_end(&mut self, stream: &mut StreamBody, cx: &mut Context<'_>) -> Polled<Piece> {
        stream.delays_end = false;
        let Some(delay) = EndDelay::new(&stream.state) else {
            return Poll::Ready(None);
        };
        self.content = Content::Delayed(delay);
        stream.end = None;
        // All that these count has been sent.
        (self.in_request, self.note) = (None, None);
        (self.poll_content(cx)).map_ok(|frame| frame.map_data(Piece::from))
    }

    /// Leaves out the content, if it is one of the server's own pages.
    pub(crate) fn discard_page(&mut self) {
        if let Content::Page(text) = &mut self.content {
            *text = None;
        }
    }

    /// Leaves out all content, and ends what writes it.
    pub(crate) fn discard_content(&mut self) {
        if !self.is_end_stream() {
            self.content = Content::Page(None);
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
    fn poll_piece(&mut self, stream: &mut StreamBody, cx: &mut Context<'_>) -> Polled<Piece> {
        if stream.rest.is_none() && !stream.state.may_read_on() {
            ready!(stream.state.poll_written(cx));
        }
        stream.state.asked();
        if let Some((rest, chunk)) = stream.rest.take() {
            return data(stream.cut(rest, chunk));
        }
        if stream.end.is_none() {
            match ready!(self.poll_content(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if bytes.len() <= STREAM_PIECE => {
                        let bytes = self.own(bytes, &stream.state);
                        return data(Piece::whole(bytes, &stream.state));
                    }
                    Ok(bytes) => {
                        let chunk = Chunk::new(bytes.len(), &stream.state);
                        return data(stream.cut(bytes, chunk));
                    }
                    Err(frame) => stream.end = Some(frame.into_trailers().ok()),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => stream.end = Some(None),
            }
        }
        stream.poll_end(cx)
    }

    /// What another server has sent is a slice of all that was read with it, be that many times as much. So a
    /// piece that has to wait for its client is copied, and takes no more memory than is counted for it.
    fn own(&self, bytes: Bytes, stream: &StreamState) -> Bytes {
        if matches!(self.content, Content::Proxied(_)) && stream.is_behind() {
            Bytes::copy_from_slice(&bytes)
        } else {
            bytes
        }
    }
}

impl StreamBody {
    fn cut(&mut self, mut rest: Bytes, chunk: Arc<Chunk>) -> Piece {
        let piece = rest.split_to(rest.len().min(STREAM_PIECE));
        if !rest.is_empty() {
            self.rest = Some((rest, Arc::clone(&chunk)));
        }
        Piece::of(piece, chunk, &self.state)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Polled<Piece> {
        let trailers = self.end.as_ref().and_then(Option::as_ref);
        if self.state.withholds_end(trailers.map_or(0, bytes_of)) {
            self.state.waits();
            ready!(self.state.poll_written(cx));
        }
        let trailers = self.end.replace(None).flatten();
        Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))))
    }

    /// Whether the end of the content may be told to h2 with its last piece.
    fn may_end(&self) -> bool {
        self.rest.is_none() && !self.delays_end && !self.state.withholds_end(0)
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
            Some(mut stream) => {
                let mut piece = self.poll_piece(&mut stream, cx);
                if stream.delays_end && matches!(piece, Poll::Ready(None)) {
                    piece = self.poll_delayed_end(&mut stream, cx);
                }
                self.stream = Some(stream);
                piece
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
        is_end && self.stream.as_ref().is_none_or(|it| it.may_end())
    }

    /// Asked before the first piece is given.
    fn size_hint(&self) -> SizeHint {
        if self.stream.as_ref().is_some_and(|it| it.hides_length) {
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
