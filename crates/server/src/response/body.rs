//! A response's body on its way to its client, with all that ends with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_message::FlushFirst;

use super::content::{Content, ContentError};
use super::end_delay::EndDelay;
use crate::access_log::AccessLogEntry;
use crate::counters::ActiveRequest;
use crate::held::{Chunk, Piece, STREAM_PIECE, StreamState};
use crate::link::{ConnectionState, InFlightGuard};

/// Content that is bound to a connection: the body that hyper polls.
pub(crate) struct ResponseBody {
    content: FlushFirst<Content>,
    guards: ResponseGuards,
}

/// What ends with a response's last byte, or when its client has gone. Dropped in this order, after the content.
pub(crate) struct ResponseGuards {
    /// Counts the request as in progress; `None` where the tunnel that follows does.
    pub(crate) in_request: Option<ActiveRequest>,
    /// `Some` if only a reset of the connection shows that the content is cut off.
    pub(crate) reset: Option<ConnectionState>,
    /// Keeps the connection from being idle.
    pub(crate) in_flight: InFlightGuard,
    /// `Some` in HTTP/2. Boxed, so that bodies of HTTP/1 have no room for it.
    pub(crate) stream: Option<Box<StreamBody>>,
    /// Writes a line to the access log when it is dropped.
    pub(crate) log_entry: Option<Box<AccessLogEntry>>,
}

/// The part of a response's body that only an HTTP/2 stream needs.
pub(crate) struct StreamBody {
    state: StreamState,
    /// Content that has been read and is given to h2 in pieces.
    unsent: Option<(Bytes, Arc<Chunk>)>,
    /// Trailers, or `None`, to be sent after all data, once the content has ended.
    end: Option<Option<HeaderMap>>,
    /// Why the content is cut off, until all that came before it has been written: a reset drops what h2 has not.
    cut_off: Option<ContentError>,
    /// The stream ends later than the content.
    delays_end: bool,
    /// Only the end of the stream tells how long the content is.
    hides_length: bool,
}

type PolledFrame<D> = Poll<Option<Result<Frame<D>, ContentError>>>;

impl ResponseBody {
    pub(crate) fn new(content: Content, guards: ResponseGuards) -> Self {
        Self {
            content: FlushFirst::new(content),
            guards,
        }
    }

    /// The end of the content, which may have to wait until the request's body is drained. A guest may drop that
    /// only when it ends, so that whether there is something to drain is checked here again.
    fn poll_delayed_end(
        &mut self,
        stream: &mut StreamBody,
        cx: &mut Context<'_>,
    ) -> PolledFrame<Piece> {
        stream.delays_end = false;
        let Some(delay) = EndDelay::new(&stream.state) else {
            return Poll::Ready(None);
        };
        self.content.get_mut().delay_end(delay);
        stream.end = None;
        // Everything that these two count has been sent.
        (self.guards.in_request, self.guards.log_entry) = (None, None);
        (self.poll_content(cx)).map_ok(|frame| frame.map_data(Piece::from))
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> PolledFrame<Bytes> {
        Pin::new(&mut self.content).poll_frame(cx)
    }

    /// The next piece for an HTTP/2 stream.
    fn poll_piece(&mut self, stream: &mut StreamBody, cx: &mut Context<'_>) -> PolledFrame<Piece> {
        if stream.cut_off.is_some() {
            return stream.poll_cut_off(cx);
        }
        if stream.unsent.is_none() && !stream.state.may_read_on() {
            ready!(stream.state.poll_written(cx));
        }
        stream.state.note_read_on();
        if let Some((unsent, chunk)) = stream.unsent.take() {
            return data(stream.cut(unsent, chunk));
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
                Some(Err(error)) => {
                    stream.cut_off = Some(error);
                    return stream.poll_cut_off(cx);
                }
                None => stream.end = Some(None),
            }
        }
        stream.poll_end(cx)
    }

    /// A piece that has to wait for its client, and shares a larger buffer, is copied: it takes no more memory
    /// than is counted for it.
    fn own(&self, bytes: Bytes, stream: &StreamState) -> Bytes {
        if self.content.get_ref().shares_buffers() && stream.has_unwritten() {
            Bytes::copy_from_slice(&bytes)
        } else {
            bytes
        }
    }
}

impl StreamBody {
    pub(crate) fn new(state: StreamState, delays_end: bool, hides_length: bool) -> Self {
        Self {
            state,
            unsent: None,
            end: None,
            cut_off: None,
            delays_end,
            hides_length,
        }
    }

    fn cut(&mut self, mut bytes: Bytes, chunk: Arc<Chunk>) -> Piece {
        let piece = bytes.split_to(bytes.len().min(STREAM_PIECE));
        if !bytes.is_empty() {
            self.unsent = Some((bytes, Arc::clone(&chunk)));
        }
        Piece::of(piece, chunk, &self.state)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> PolledFrame<Piece> {
        let trailers = self.end.as_ref().and_then(Option::as_ref);
        if self.state.withholds_end(trailers.map_or(0, bytes_of)) {
            self.state.wait_for_client();
            ready!(self.state.poll_written(cx));
        }
        let trailers = self.end.replace(None).flatten();
        Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))))
    }

    fn poll_cut_off(&mut self, cx: &mut Context<'_>) -> PolledFrame<Piece> {
        if self.state.has_unwritten() {
            self.state.wait_for_client();
            ready!(self.state.poll_written(cx));
        }
        Poll::Ready(self.cut_off.take().map(Err))
    }

    /// Whether the end of the content may go to h2 with its last piece.
    fn may_end(&self) -> bool {
        self.unsent.is_none()
            && self.cut_off.is_none()
            && !self.delays_end
            && !self.state.withholds_end(0)
    }
}

fn bytes_of(fields: &HeaderMap) -> usize {
    let fields = fields.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

fn data(piece: Piece) -> PolledFrame<Piece> {
    Poll::Ready(Some(Ok(Frame::data(piece))))
}

impl Body for ResponseBody {
    type Data = Piece;
    type Error = ContentError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<Piece> {
        if self.guards.in_flight.link().gather_orders().is_gathering() {
            // The connection is polled again when the gathering has ended.
            return Poll::Pending;
        }
        let frame = match self.guards.stream.take() {
            None => (self.poll_content(cx)).map_ok(|frame| frame.map_data(Piece::from)),
            Some(mut stream) => {
                let mut piece = self.poll_piece(&mut stream, cx);
                if stream.delays_end && matches!(piece, Poll::Ready(None)) {
                    piece = self.poll_delayed_end(&mut stream, cx);
                }
                self.guards.stream = Some(stream);
                piece
            }
        };
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(log_entry), Some(data)) =
                    (&mut self.guards.log_entry, frame.data_ref())
                {
                    log_entry.sent += data.len() as u64;
                }
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(link) = &self.guards.reset {
                    link.reset();
                }
                match error {
                    ContentError::File(error) => {
                        tracing::warn!("a response is cut off: {error}");
                    }
                    // The engine and the proxy have logged those themselves.
                    ContentError::Guest(_) | ContentError::Upstream(_) => {}
                }
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let stream = self.guards.stream.as_ref();
        self.content.is_end_stream() && stream.is_none_or(|it| it.may_end())
    }

    /// Asked before the first piece is given.
    fn size_hint(&self) -> SizeHint {
        let stream = self.guards.stream.as_ref();
        if stream.is_some_and(|it| it.hides_length) {
            return SizeHint::default();
        }
        self.content.size_hint()
    }
}
