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

/// The content of a response: nothing, a file, parts of a file.
///
/// It has exactly the length that its [`SizeHint`] and `Content-Length` tell, or ends in an error.
/// At most one piece of 64 KiB is held at a time, besides those that were given and are still in
/// use. What is in the page cache is read on the spot; for the rest a thread of the runtime's
/// blocking pool is asked, so it has to be polled within a tokio runtime. Dropping it closes the
/// file, at the latest when such a read returns.
pub struct Body {
    parts: VecDeque<Part>,
    reader: Option<Reader>,
    /// How many bytes are still to be given.
    left: u64,
}

pub(crate) enum Part {
    Text(Bytes),
    File { at: u64, length: u64 },
}

/// Why a body ends before its end. The response must not look whole then.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The file became shorter after its length was announced.
    #[error("the file was cut off while it was sent, {missing} bytes before its end")]
    Shrunk {
        /// How many bytes are missing.
        missing: u64,
    },
    /// A read failed, or the runtime shuts down.
    #[error("the file could not be read while it was sent: {0}")]
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

    /// Reads what comes first, if that goes without waiting or may wait. A small file is whole then,
    /// and is closed. What goes wrong here goes wrong again when the body is polled.
    ///
    /// A file that stays open counts by `permit`, or by another one of `open_files`.
    ///
    /// # Errors
    ///
    /// When no further file may stay open.
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

    /// Closes the file before all has been given, which may take its client long.
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
            // After an error there is nothing more, and the file is of no use.
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
