//! A request's content on its way from Unit to a guest.
//!
//! Only the thread of an exchange may ask libunit, and only the guest knows when it wants more; it
//! has a [`Body`], the exchange's task a [`Source`]. The guest runs inside that task, so that the
//! two meet within one poll, unless the guest has passed the body on to be sent elsewhere.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use engine::RequestBodyError;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::{Content, Exchange};

/// Bytes that are read of a file in one go.
const FILE_PIECE: usize = 128 * 1024;

/// Bytes that a guest may still have of a content that Unit is about to take back.
const LEFT_BEHIND: usize = 64 * 1024;

/// The two ends of a content of `length` bytes.
pub(crate) fn pair(length: u64) -> (Body, Source) {
    let shared = (length > 0).then(|| Arc::new(Mutex::new(State::default())));
    let source = Source(shared.clone());
    let body = Body {
        shared,
        remaining: length,
        file: None,
    };
    (body, source)
}

#[derive(Default)]
struct State {
    /// The guest waits for more.
    wanted: Option<Waker>,
    /// The exchange's task, which waits for it to do so.
    source: Option<Waker>,
    ready: VecDeque<Content>,
    /// Nothing more will come.
    closed: bool,
    /// The guest has met an end before the announced one.
    is_short: bool,
}

type Shared = Arc<Mutex<State>>;

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end at the exchange. Dropping it ends the body, whole or not.
pub(crate) struct Source(Option<Shared>);

impl Source {
    /// Reads a part from the exchange if the guest waits for one.
    pub(crate) fn poll(&mut self, exchange: &mut impl Exchange, cx: &mut Context<'_>) {
        let Some(shared) = &self.0 else {
            return;
        };
        // A guest that has left the rest unread waits for nothing.
        {
            let mut state = lock(shared);
            if state.wanted.is_none() {
                state.source = Some(cx.waker().clone());
                return;
            }
        }
        if let Poll::Ready(part) = exchange.poll_content(cx) {
            let mut state = lock(shared);
            state.ready.push_back(part);
            if let Some(waker) = state.wanted.take() {
                waker.wake();
            }
        }
    }

    /// Whether the guest has met an end before the announced one. It may not have cared.
    pub(crate) fn is_short(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| lock(shared).is_short)
    }

    /// Leaves the guest what can be had at once and is not much: it may work on after its response,
    /// when Unit has taken the rest back.
    pub(crate) fn leave(mut self, exchange: &mut impl Exchange) {
        let Some(shared) = self.0.take() else {
            return;
        };
        let mut cx = Context::from_waker(Waker::noop());
        let mut left = 0;
        while Arc::strong_count(&shared) > 1 && left < LEFT_BEHIND {
            let Poll::Ready(part) = exchange.poll_content(&mut cx) else {
                break;
            };
            let is_all = !matches!(part, Content::Piece(_));
            if let Content::Piece(piece) = &part {
                left += piece.len();
            }
            lock(&shared).ready.push_back(part);
            if is_all {
                break;
            }
        }
        // Dropped here, this closes the body.
        self.0 = Some(shared);
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            let mut state = lock(shared);
            state.closed = true;
            if let Some(waker) = state.wanted.take() {
                waker.wake();
            }
        }
    }
}

/// The end at the guest.
pub(crate) struct Body {
    shared: Option<Shared>,
    remaining: u64,
    file: Option<Reading>,
}

/// A file that is read piece by piece, on a thread where reading may block.
struct Reading {
    file: Arc<File>,
    piece: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Reading {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let piece = self.piece.get_or_insert_with(|| {
            let file = Arc::clone(&self.file);
            tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; FILE_PIECE];
                let length = (&*file).read(&mut piece)?;
                piece.truncate(length);
                Ok(Bytes::from(piece))
            })
        });
        let Poll::Ready(read) = Pin::new(piece).poll(cx) else {
            return Poll::Pending;
        };
        self.piece = None;
        Poll::Ready(match read {
            Ok(Ok(piece)) if !piece.is_empty() => Some(piece),
            Ok(Ok(_)) => None,
            Ok(Err(error)) => {
                tracing::error!("the content of a request cannot be read: {error}");
                None
            }
            // The runtime ends.
            Err(_) => None,
        })
    }
}

impl Body {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(file) = &mut self.file {
                return file.poll(cx);
            }
            let Some(shared) = &self.shared else {
                return Poll::Ready(None);
            };
            let mut state = lock(shared);
            match state.ready.pop_front() {
                Some(Content::Piece(piece)) if piece.is_empty() => {}
                Some(Content::Piece(piece)) => return Poll::Ready(Some(piece)),
                Some(Content::File(file)) => {
                    self.file = Some(Reading {
                        file: Arc::new(file),
                        piece: None,
                    });
                }
                Some(Content::End) => return Poll::Ready(None),
                None if state.closed => return Poll::Ready(None),
                None => {
                    state.wanted = Some(cx.waker().clone());
                    if let Some(source) = state.source.take() {
                        source.wake();
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let Poll::Ready(piece) = self.poll_piece(cx) else {
            return Poll::Pending;
        };
        let Some(mut piece) = piece else {
            // Less than was announced: whoever reads must not take it for the whole.
            self.remaining = 0;
            if let Some(shared) = &self.shared {
                lock(shared).is_short = true;
            }
            return Poll::Ready(Some(Err(RequestBodyError::Disconnected)));
        };
        piece.truncate(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        self.remaining -= piece.len() as u64;
        if self.remaining == 0 {
            self.shared = None;
            self.file = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
