//! The trait between this crate and libunit: one request, and its response.

use std::fs::File;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::BadRequest;

/// One request, from the moment Unit delivers it until it is finished or dropped.
///
/// It belongs to one thread, and its methods never block. In this order: [`request`](Self::request)
/// once; then [`poll_head`](Self::poll_head) until it is ready; then
/// [`poll_write`](Self::poll_write) as often as there is something to write; then
/// [`finish`](Self::finish). [`poll_content`](Self::poll_content) and
/// [`poll_cancelled`](Self::poll_cancelled) may be called at any time. All polls are made by one
/// task, and each of them wakes that task.
///
/// Dropping an exchange before it is finished fails the request for the client: with 503 before the head,
/// with a closed connection after it.
pub trait Exchange {
    /// The request's head.
    ///
    /// # Errors
    ///
    /// When Unit has accepted a head that the `http` crate does not.
    fn request(&self) -> Result<Parts, BadRequest>;

    /// The announced length of the request's content, in bytes.
    fn content_length(&self) -> u64;

    /// Ready when Unit has given the request up.
    fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The next part of the request's content. Call it only when the guest wants one: it may copy.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Content>;

    /// Creates the response's head, with the beginning of its content, which is short. It is sent at
    /// once, unless `last` is set: then [`finish`](Self::finish) sends it together with the end.
    ///
    /// # Errors
    ///
    /// When libunit refuses it. The exchange can only be dropped then.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        status: StatusCode,
        fields: &HeaderMap,
        content: &[u8],
        last: bool,
    ) -> Poll<Result<(), ResponseRefused>>;

    /// Sends as much of `data` as there is room for, and returns its length, which is never 0.
    ///
    /// # Errors
    ///
    /// When libunit refuses it. The exchange can only be dropped then.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, ResponseRefused>>;

    /// Ends the response as complete.
    fn finish(self);
}

/// A part of a request's content.
#[derive(Debug)]
pub enum Content {
    /// Some bytes; 64 KiB at most from libunit.
    Piece(Bytes),
    /// All that is left, from the file's position on. Unit keeps large contents in files.
    File(File),
    /// There is no more, or reading has failed.
    End,
}

/// libunit has refused a part of a response, and has logged why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseRefused;
