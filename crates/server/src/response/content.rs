//! What a response consists of, before it is bound to the connection that carries it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::end_delay::EndDelay;

/// The content of a response: a page of the server's own, or the body of a guest, a file or an upstream.
pub(crate) struct Content {
    source: ContentSource,
    /// The server closes the connection after this response, and the head says so.
    pub(crate) closes_connection: bool,
}

enum ContentSource {
    Page(Option<Bytes>),
    /// No bytes, but an end that waits until the request's body has been drained.
    Delayed(EndDelay),
    Guest(engine::Body),
    File(static_files::Body),
    /// Boxed, so that the other kinds have no room for it.
    Upstream(Box<proxy::ResponseBody>),
}

/// Why a body is cut off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error(transparent)]
    Guest(#[from] engine::CutOff),
    #[error(transparent)]
    File(#[from] static_files::BodyError),
    #[error(transparent)]
    Upstream(#[from] proxy::ProxyError),
}

impl Content {
    pub(crate) fn page(text: Bytes) -> Self {
        Self::of(ContentSource::Page(Some(text)))
    }

    pub(crate) fn guest(body: engine::Body) -> Self {
        Self::of(ContentSource::Guest(body))
    }

    pub(crate) fn file(body: static_files::Body) -> Self {
        Self::of(ContentSource::File(body))
    }

    pub(crate) fn upstream(body: proxy::ResponseBody) -> Self {
        Self::of(ContentSource::Upstream(Box::new(body)))
    }

    fn of(source: ContentSource) -> Self {
        Self {
            source,
            closes_connection: false,
        }
    }

    /// The tunnel that follows a response with status 101.
    pub(crate) fn take_tunnel(&mut self) -> Option<proxy::Tunnel> {
        match &mut self.source {
            ContentSource::Upstream(body) => body.take_tunnel(),
            ContentSource::Page(_)
            | ContentSource::Delayed(_)
            | ContentSource::Guest(_)
            | ContentSource::File(_) => None,
        }
    }

    /// Leaves out the content, if it is one of the server's own pages.
    pub(crate) fn discard_page(&mut self) {
        if let ContentSource::Page(text) = &mut self.source {
            *text = None;
        }
    }

    /// Leaves out all content. A guest that writes it is cancelled.
    pub(crate) fn discard(&mut self) {
        if !self.is_end_stream() {
            self.source = ContentSource::Page(None);
        }
    }

    /// Replaces content that has ended by an end that waits for `delay`.
    pub(super) fn delay_end(&mut self, delay: EndDelay) {
        self.source = ContentSource::Delayed(delay);
    }

    /// Whether a piece may keep a buffer in memory that is many times as large: a piece of an upstream's body is a
    /// slice of all that was read with it.
    pub(super) fn shares_buffers(&self) -> bool {
        matches!(self.source, ContentSource::Upstream(_))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = ContentError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentError>>> {
        match &mut self.source {
            ContentSource::Page(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            ContentSource::Delayed(delay) => {
                ready!(delay.poll(cx));
                self.source = ContentSource::Page(None);
                Poll::Ready(None)
            }
            ContentSource::Guest(body) => Pin::new(body).poll_frame(cx).map_err(ContentError::from),
            ContentSource::File(body) => Pin::new(body).poll_frame(cx).map_err(ContentError::from),
            ContentSource::Upstream(body) => Pin::new(&mut **body)
                .poll_frame(cx)
                .map_err(ContentError::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            ContentSource::Page(text) => text.is_none(),
            ContentSource::Delayed(_) => false,
            ContentSource::Guest(body) => body.is_end_stream(),
            ContentSource::File(body) => body.is_end_stream(),
            ContentSource::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            ContentSource::Page(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64)
            }
            ContentSource::Delayed(_) => SizeHint::with_exact(0),
            ContentSource::Guest(body) => body.size_hint(),
            ContentSource::File(body) => body.size_hint(),
            ContentSource::Upstream(body) => body.size_hint(),
        }
    }
}
