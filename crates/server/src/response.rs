use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use engine::CutOff;
use http_body::{Body, Frame, SizeHint};

use crate::counters::InRequest;
use crate::io::{Link, Open};

/// The body of a response, whoever wrote it.
pub(crate) struct ResponseBody {
    content: Content,
    /// What the request counts for, until its response is over.
    pub(crate) in_request: Option<InRequest>,
    /// Where a cut-off body can only be told by a reset of the connection.
    pub(crate) reset: Option<Link>,
    pub(crate) open: Option<Open>,
}

enum Content {
    Page(Option<Bytes>),
    Guest(engine::Body),
}

impl ResponseBody {
    pub(crate) fn page(text: Bytes) -> Self {
        Self {
            content: Content::Page(Some(text)),
            in_request: None,
            reset: None,
            open: None,
        }
    }

    pub(crate) fn guest(body: engine::Body) -> Self {
        Self {
            content: Content::Guest(body),
            in_request: None,
            reset: None,
            open: None,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let frame = match &mut self.content {
            Content::Page(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::Guest(body) => Pin::new(body).poll_frame(cx),
        };
        if let (Poll::Ready(Some(Err(_))), Some(reset)) = (&frame, &self.reset) {
            reset.reset();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Page(text) => text.is_none(),
            Content::Guest(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Page(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Content::Guest(body) => body.size_hint(),
        }
    }
}
