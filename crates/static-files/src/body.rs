//! The body of a response: a file, or parts of it, in pieces of at most 64 KiB.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::NotServed;
use crate::open::Wait;
use crate::open_files::{OpenFiles, Permit};
use crate::read::{FILE_PIECE, Reader};

/// The body of a response: empty, a file, or parts of a file.
///
/// It has exactly the length of its [`SizeHint`] and `Content-Length`, or ends in an error. It holds one piece of
/// at most 64 KiB, besides those that it has returned. Data in the page cache is read on the polling thread, other
/// data on the runtime's blocking pool, so it must be polled within a tokio runtime. Dropping it closes the file,
/// at the latest when a read on the pool returns.
pub struct Body {
    parts: VecDeque<Part>,
    reader: Option<Reader>,
    /// The bytes not yet returned.
    left: u64,
}

pub(crate) enum Part {
    Text(Bytes),
    File { at: u64, length: u64 },
}

/// Why a body is incomplete. The client must be able to notice, so the response must not end normally.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The file became shorter after `Content-Length` was sent.
    #[error("the file was truncated while it was sent; {missing} bytes are missing")]
    Shrunk {
        /// The number of missing bytes.
        missing: u64,
    },
    /// A read failed, or the runtime shuts down.
    #[error("reading the file failed while it was sent: {0}")]
    Read(#[from] io::Error),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self {
            parts: VecDeque::new(),
            reader: None,
            left: 0,
        }
    }

    pub(crate) fn of(reader: Reader, parts: VecDeque<Part>) -> Self {
        let left = parts.iter().map(Part::length).sum();
        Self {
            parts,
            reader: Some(reader),
            left,
        }
    }

    /// Reads the first piece, if that is possible without blocking or `wait` allows it. A small file is complete
    /// then, and closed. An error is not reported here: the read is repeated when the body is polled.
    ///
    /// A file that stays open is counted by `permit`, or by a new permit of `open_files`.
    ///
    /// # Errors
    ///
    /// If the limit on open files is reached.
    pub(crate) fn read_ahead(
        &mut self,
        wait: Wait,
        mut permit: Option<Permit>,
        open_files: &OpenFiles,
    ) -> Result<(), NotServed> {
        if permit.is_none() && self.left > FILE_PIECE as u64 {
            permit = Some(open_files.permit()?);
        }
        self.read_first(wait);
        if let Some(reader) = &mut self.reader {
            let mut permit = match permit {
                Some(permit) => permit,
                None => open_files.permit()?,
            };
            permit.reduce_to_one();
            reader.count(permit);
        }
        Ok(())
    }

    fn read_first(&mut self, wait: Wait) {
        let Some(Part::File { at, length }) = self.parts.front_mut() else {
            return;
        };
        let Some(reader) = &mut self.reader else {
            return;
        };
        if let Some(Ok(piece)) = reader.read(*at, *length, wait)
            && !piece.is_empty()
        {
            *at += piece.len() as u64;
            *length -= piece.len() as u64;
            if *length == 0 {
                self.parts.pop_front();
                self.close_if_read();
            }
            self.parts.push_front(Part::Text(piece));
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(part) = self.parts.front_mut() else {
            return Poll::Ready(None);
        };
        match part {
            Part::Text(text) => {
                let text = std::mem::take(text);
                self.parts.pop_front();
                Poll::Ready(Some(Ok(text)))
            }
            Part::File { at, length } => {
                let Some(reader) = &mut self.reader else {
                    return Poll::Ready(None);
                };
                let piece = match ready!(reader.poll_read(cx, *at, *length)) {
                    Ok(piece) => piece,
                    Err(error) => return Poll::Ready(Some(Err(error.into()))),
                };
                if piece.is_empty() {
                    let missing = self.left;
                    return Poll::Ready(Some(Err(BodyError::Shrunk { missing })));
                }
                *at += piece.len() as u64;
                *length -= piece.len() as u64;
                if *length == 0 {
                    self.parts.pop_front();
                    self.close_if_read();
                }
                Poll::Ready(Some(Ok(piece)))
            }
        }
    }

    /// Closes the file once all of it is read: a slow client does not keep it open.
    fn close_if_read(&mut self) {
        let is_text = |part: &Part| matches!(part, Part::Text(_));
        if self.parts.iter().all(is_text) {
            self.reader = None;
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = ready!(self.poll_piece(cx));
        match &piece {
            Some(Ok(piece)) => self.left -= piece.len() as u64,
            // An error ends the body, so the file is not needed any more.
            Some(Err(_)) | None => *self = Self::empty(),
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Part {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}
