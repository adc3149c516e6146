//! A request's content on its way from Unit to a guest.
//!
//! Only the thread of an exchange may call libunit, and only the guest knows when it wants more: the
//! guest has a [`RequestBody`], the exchange's task a [`ContentSource`]. The guest runs inside that task,
//! so both ends meet within one poll, unless the guest sends the body on in an outbound request.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use engine::RequestBodyError;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::{Content, Exchange};

/// Bytes of one read from a file.
const FILE_PIECE: usize = 128 * 1024;

/// The most bytes that a guest keeps of unread content when its request is done, and Unit takes the
/// content back.
const MAX_RETAINED: usize = 64 * 1024;

/// The two ends of `length` bytes of content.
pub(crate) fn pair(length: u64) -> (RequestBody, ContentSource) {
    let shared = (length > 0).then(Arc::default);
    let source = ContentSource(shared.clone());
    let body = RequestBody {
        shared,
        remaining: length,
        file: None,
    };
    (body, source)
}

#[derive(Default)]
struct Transfer {
    /// Wakes the guest, which waits for more content.
    guest: Option<Waker>,
    /// Wakes the exchange's task, which waits for the guest to want more.
    exchange: Option<Waker>,
    ready: VecDeque<Content>,
    /// The source is gone, so nothing more will arrive.
    closed: bool,
    /// The guest has read an end before the announced length.
    is_short: bool,
}

type SharedTransfer = Arc<Mutex<Transfer>>;

/// The end at the exchange. Dropping it ends the body, complete or not.
pub(crate) struct ContentSource(Option<SharedTransfer>);

impl ContentSource {
    /// Reads a part from the exchange if the guest waits for one.
    pub(crate) fn poll(&mut self, exchange: &mut impl Exchange, cx: &mut Context<'_>) {
        let Some(shared) = &self.0 else {
            return;
        };
        {
            let mut transfer = shared.lock();
            if transfer.guest.is_none() {
                transfer.exchange = Some(cx.waker().clone());
                return;
            }
        }
        if let Poll::Ready(part) = exchange.poll_content(cx) {
            let mut transfer = shared.lock();
            transfer.ready.push_back(part);
            if let Some(waker) = transfer.guest.take() {
                waker.wake();
            }
        }
    }

    /// Whether the guest has read an end before the announced length. It may have ignored that.
    pub(crate) fn is_short(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.lock().is_short)
    }

    /// Gives the guest what is available at once, up to [`MAX_RETAINED`]: it may work after its response,
    /// when Unit has taken the content back.
    pub(crate) fn retain(mut self, exchange: &mut impl Exchange) {
        let Some(shared) = self.0.take() else {
            return;
        };
        let mut cx = Context::from_waker(Waker::noop());
        let mut retained = 0;
        while Arc::strong_count(&shared) > 1 && retained < MAX_RETAINED {
            let Poll::Ready(part) = exchange.poll_content(&mut cx) else {
                break;
            };
            let is_last = !matches!(part, Content::Piece(_));
            if let Content::Piece(piece) = &part {
                retained += piece.len();
            }
            shared.lock().ready.push_back(part);
            if is_last {
                break;
            }
        }
        // The drop of `self` closes the body.
        self.0 = Some(shared);
    }
}

impl Drop for ContentSource {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            let mut transfer = shared.lock();
            transfer.closed = true;
            if let Some(waker) = transfer.guest.take() {
                waker.wake();
            }
        }
    }
}

/// The end at the guest.
pub(crate) struct RequestBody {
    shared: Option<SharedTransfer>,
    remaining: u64,
    file: Option<FileReader>,
}

/// Reads a file piece by piece, on a thread of tokio's that may block.
struct FileReader {
    file: Arc<File>,
    piece: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileReader {
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
                tracing::error!("cannot read the body of a request: {error}; cutting it off");
                None
            }
            // The runtime is shutting down.
            Err(_) => None,
        })
    }
}

impl RequestBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(file) = &mut self.file {
                return file.poll(cx);
            }
            let Some(shared) = &self.shared else {
                return Poll::Ready(None);
            };
            let mut transfer = shared.lock();
            match transfer.ready.pop_front() {
                Some(Content::Piece(piece)) if piece.is_empty() => {}
                Some(Content::Piece(piece)) => return Poll::Ready(Some(piece)),
                Some(Content::File(file)) => {
                    self.file = Some(FileReader {
                        file: Arc::new(file),
                        piece: None,
                    });
                }
                Some(Content::End) => return Poll::Ready(None),
                None if transfer.closed => return Poll::Ready(None),
                None => {
                    transfer.guest = Some(cx.waker().clone());
                    if let Some(waker) = transfer.exchange.take() {
                        waker.wake();
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Body for RequestBody {
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
            // Less than was announced: an error, so that the guest does not take it for complete.
            self.remaining = 0;
            if let Some(shared) = &self.shared {
                shared.lock().is_short = true;
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

#[cfg(test)]
mod tests {
    use http::request::Parts;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::{BadRequest, ResponseRefused};

    /// An exchange that has only content, and counts how often it is asked for some.
    struct ContentOnly {
        content: VecDeque<Content>,
        polls: usize,
    }

    impl ContentOnly {
        fn new(content: impl IntoIterator<Item = Content>) -> Self {
            Self {
                content: content.into_iter().collect(),
                polls: 0,
            }
        }
    }

    impl Exchange for ContentOnly {
        fn poll_content(&mut self, _: &mut Context<'_>) -> Poll<Content> {
            self.polls += 1;
            self.content.pop_front().map_or(Poll::Pending, Poll::Ready)
        }

        fn request(&self) -> Result<Parts, BadRequest> {
            unreachable!("content only")
        }

        fn content_length(&self) -> u64 {
            unreachable!("content only")
        }

        fn poll_cancelled(&mut self, _: &mut Context<'_>) -> Poll<()> {
            unreachable!("content only")
        }

        fn poll_head(
            &mut self,
            _: &mut Context<'_>,
            _: StatusCode,
            _: &HeaderMap,
            _: &[u8],
            _: bool,
        ) -> Poll<Result<(), ResponseRefused>> {
            unreachable!("content only")
        }

        fn poll_write(
            &mut self,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<Result<usize, ResponseRefused>> {
            unreachable!("content only")
        }

        fn finish(self) {
            unreachable!("content only")
        }
    }

    fn piece(length: usize) -> Content {
        Content::Piece(Bytes::from(vec![b'x'; length]))
    }

    /// The length of the body's next piece, or `Err` at an early end; `None` if it has to wait.
    fn read(body: &mut RequestBody) -> Option<Result<usize, ()>> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(body).poll_frame(&mut cx) {
            Poll::Pending => None,
            Poll::Ready(Some(Ok(frame))) => Some(Ok(frame.into_data().unwrap().len())),
            Poll::Ready(Some(Err(_))) => Some(Err(())),
            Poll::Ready(None) => Some(Ok(0)),
        }
    }

    #[test]
    fn back_pressure_content_is_read_only_while_the_guest_waits_for_it() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut exchange = ContentOnly::new([piece(2), piece(3)]);
        let (mut body, mut source) = pair(5);
        source.poll(&mut exchange, &mut cx);
        assert_eq!(exchange.polls, 0);
        assert_eq!(read(&mut body), None);
        source.poll(&mut exchange, &mut cx);
        source.poll(&mut exchange, &mut cx);
        assert_eq!(exchange.polls, 1);
        assert_eq!(read(&mut body), Some(Ok(2)));
        assert_eq!(read(&mut body), None);
        source.poll(&mut exchange, &mut cx);
        assert_eq!(read(&mut body), Some(Ok(3)));
        assert!(body.is_end_stream() && !source.is_short());
    }

    #[test]
    fn content_that_ends_before_its_length_is_an_error() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut exchange = ContentOnly::new([Content::End]);
        let (mut body, mut source) = pair(5);
        assert_eq!(read(&mut body), None);
        source.poll(&mut exchange, &mut cx);
        assert_eq!(read(&mut body), Some(Err(())));
        assert!(source.is_short());
    }

    #[test]
    fn a_guest_retains_a_bounded_part_of_unread_content() {
        let mut exchange = ContentOnly::new((0..100).map(|_| piece(1000)));
        let (mut body, source) = pair(100_000);
        source.retain(&mut exchange);
        let mut retained = 0;
        while let Some(Ok(length)) = read(&mut body) {
            retained += length;
        }
        assert!(
            (MAX_RETAINED..MAX_RETAINED + 1000).contains(&retained),
            "{retained}"
        );
        // The rest is gone with the request.
        assert!(body.is_end_stream());
    }

    #[test]
    fn content_of_a_dropped_body_is_not_retained() {
        let mut exchange = ContentOnly::new([piece(1000)]);
        let (body, source) = pair(1000);
        drop(body);
        source.retain(&mut exchange);
        assert_eq!(exchange.polls, 0);
    }
}
