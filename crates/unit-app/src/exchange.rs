use std::fs::File;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::BadRequest;

/// One request, from the moment Unit hands it over until it is finished or dropped.
///
/// It belongs to one thread, and its methods never block. In this order: [`request`](Self::request)
/// once; then [`poll_head`](Self::poll_head) until it is ready; then
/// [`poll_write`](Self::poll_write) as often as there is something to write; then
/// [`finish`](Self::finish). [`poll_content`](Self::poll_content) and
/// [`poll_cancelled`](Self::poll_cancelled) may be called at any time. All polls are made by one
/// task, which each of them wakes.
///
/// Dropping an exchange before it is finished tells the client: with 503 where no head was sent,
/// with a broken connection after it.
pub trait Exchange {
    /// The request's head.
    ///
    /// # Errors
    ///
    /// When Unit took what no guest can be told.
    fn request(&self) -> Result<Parts, BadRequest>;

    /// The length of the request's content in bytes.
    fn content_length(&self) -> u64;

    /// Ready when Unit has given the request up.
    fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The next part of the request's content.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Content>;

    /// Makes the response's head, with the beginning of its content, which is short. It is sent at
    /// once, unless `last` is set: then it goes out with the end, by [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// When Unit does not take it. The exchange can only be dropped then.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        status: StatusCode,
        fields: &HeaderMap,
        content: &[u8],
        last: bool,
    ) -> Poll<Result<(), Gone>>;

    /// Sends as much of `data` as there is room for, and says how much that was: never nothing.
    ///
    /// # Errors
    ///
    /// When Unit does not take it. The exchange can only be dropped then.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Gone>>;

    /// Ends the response as a whole one.
    fn finish(self);
}

/// A part of a request's content.
#[derive(Debug)]
pub enum Content {
    /// Some bytes, not many.
    Piece(Bytes),
    /// All that is left, from the file's position on. Unit keeps large contents in files.
    File(File),
    /// There is no more, or it cannot be read.
    End,
}

/// Unit does not take any more of a response. libunit has logged why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;
