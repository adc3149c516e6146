//! Bodies that are written piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::Full;
use tokio::sync::mpsc;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A body that is written piece by piece, of unknown length.
pub struct Pieces(mpsc::UnboundedReceiver<Result<Frame<Bytes>, Error>>);

/// The writing end. Dropping it ends the body.
pub struct Writer(mpsc::UnboundedSender<Result<Frame<Bytes>, Error>>);

/// A body, and who writes it.
pub fn pieces() -> (Writer, Pieces) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Writer(sender), Pieces(receiver))
}

/// A body of these pieces.
pub fn written(pieces: &[&'static str]) -> Pieces {
    let (writer, body) = self::pieces();
    for piece in pieces {
        writer.write(piece);
    }
    body
}

impl Writer {
    /// Adds a piece.
    pub fn write(&self, data: &'static str) {
        let frame = Frame::data(Bytes::from_static(data.as_bytes()));
        let _ = self.0.send(Ok(frame));
    }

    /// Adds trailers: this field, and a length that has no business there.
    pub fn trailer(&self, name: &'static str, value: &'static str) {
        let mut fields = http::HeaderMap::new();
        fields.insert(name, value.parse().unwrap());
        fields.insert("content-length", "7".parse().unwrap());
        let _ = self.0.send(Ok(Frame::trailers(fields)));
    }

    /// Has the body fail.
    pub fn fail(&self) {
        let _ = self.0.send(Err("the writer left".into()));
    }

    /// Whether the reader is gone.
    pub fn is_dropped(&self) -> bool {
        self.0.is_closed()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.0.poll_recv(cx)
    }
}

/// A body of this text, whose length is known.
pub fn full(text: &'static str) -> Full<Bytes> {
    Full::new(Bytes::from_static(text.as_bytes()))
}
