//! One request of libunit's, owned, as the `Exchange` that `unit-app` serves.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use unit_app::{BadRequest, Content, Exchange, HeldChunks, RawRequest, ResponseRefused};
use unit_sys::{
    NXT_UNIT_ERROR, NXT_UNIT_OK, nxt_unit_buf_next, nxt_unit_buf_send, nxt_unit_buf_t,
    nxt_unit_field_t, nxt_unit_request_done, nxt_unit_request_info_t, nxt_unit_request_read,
    nxt_unit_request_t, nxt_unit_response_add_content, nxt_unit_response_add_field,
    nxt_unit_response_init, nxt_unit_response_send, nxt_unit_response_t, nxt_unit_sptr_t,
};

use crate::ffi;
use crate::response_memory::ResponseMemory;
use crate::shared_memory::Allocation;

/// Bytes of content in one piece.
const PIECE: usize = 64 * 1024;

/// The most bytes of a buffer that libunit sends without shared memory (`NXT_UNIT_MAX_PLAIN_SIZE`).
const MAX_PLAIN: usize = 1024;

/// A request that is not done. It is neither `Send` nor `Sync`, so it stays on the thread of its context.
/// What it points to lives until it is dropped: nothing else calls `nxt_unit_request_done`.
pub(crate) struct Request {
    info: NonNull<nxt_unit_request_info_t>,
    signals: Rc<Signals>,
    memory: Rc<ResponseMemory>,
    held: HeldChunks,
    /// What `nxt_unit_request_done` is called with.
    outcome: c_int,
}

/// The signals of libunit's callbacks to a request. libunit holds a reference to them, as the request's
/// `data`.
#[derive(Default)]
struct Signals {
    cancelled: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signals {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Request {
    /// Takes ownership of a request from libunit.
    ///
    /// # Safety
    ///
    /// `info` must be what `request_handler` was called with, by a context of this thread,
    /// and must be taken only once. `memory` must be that of the context's worker.
    pub(crate) unsafe fn take(
        info: NonNull<nxt_unit_request_info_t>,
        memory: Rc<ResponseMemory>,
    ) -> Self {
        let signals = Rc::<Signals>::default();
        let data = Rc::into_raw(Rc::clone(&signals)).cast_mut();
        // SAFETY: by the caller's promise; `data` is the application's to use.
        unsafe { (*info.as_ptr()).data = data.cast() };
        Self {
            info,
            signals,
            memory,
            held: HeldChunks::default(),
            outcome: NXT_UNIT_ERROR as c_int,
        }
    }

    /// More of the request's content has arrived.
    ///
    /// # Safety
    ///
    /// `info` must be a request that libunit calls a handler with, on the thread of its context.
    pub(crate) unsafe fn content_arrived(info: *mut nxt_unit_request_info_t) {
        // SAFETY: by the caller's promise.
        if let Some(signals) = unsafe { signals(info) } {
            signals.wake();
        }
    }

    /// Unit has given the request up.
    ///
    /// # Safety
    ///
    /// As for [`content_arrived`](Self::content_arrived).
    pub(crate) unsafe fn cancel(info: *mut nxt_unit_request_info_t) {
        // SAFETY: by the caller's promise.
        if let Some(signals) = unsafe { signals(info) } {
            signals.cancelled.set(true);
            signals.wake();
        }
    }

    /// The request's head. A pointer, since its texts and fields follow it in memory, where a reference
    /// would not reach.
    fn head(&self) -> *const nxt_unit_request_t {
        // SAFETY: libunit keeps it until the request is done, and does not change it.
        unsafe { (*self.info.as_ptr()).request }
    }

    /// The number of bytes left in the first buffer with content.
    fn buffered(&mut self) -> usize {
        // SAFETY: the buffers of a request's content live until it is done, and belong to this
        // thread.
        unsafe {
            let info = self.info.as_ptr();
            let mut buffer: *mut nxt_unit_buf_t = (*info).content_buf;
            while !buffer.is_null() {
                let left = (*buffer).end.offset_from((*buffer).free);
                if left > 0 {
                    return usize::try_from(left).unwrap_or_default();
                }
                buffer = nxt_unit_buf_next(buffer);
            }
        }
        0
    }

    fn wait_for_signal(&self, cx: &Context<'_>) {
        let mut waker = self.signals.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl Exchange for Request {
    fn request(&self) -> Result<Parts, BadRequest> {
        let head = self.head();
        // SAFETY: the head and its fields are there, and each text pointer was made by the router for
        // the length beside it, within what `self.info` keeps alive.
        unsafe {
            let count = usize::try_from((*head).fields_count).unwrap_or_default();
            let first: *const nxt_unit_field_t = (&raw const (*head).fields).cast();
            RawRequest {
                method: text(&raw const (*head).method, (*head).method_length.into()),
                target: text(&raw const (*head).target, (*head).target_length),
                version: text(&raw const (*head).version, (*head).version_length.into()),
                server_name: text(&raw const (*head).server_name, (*head).server_name_length),
                tls: (*head).tls != 0,
                fields: (0..count).map(|index| {
                    let field = first.add(index);
                    (
                        text(&raw const (*field).name, (*field).name_length.into()),
                        text(&raw const (*field).value, (*field).value_length),
                    )
                }),
            }
            .into_parts()
        }
    }

    fn content_length(&self) -> u64 {
        // SAFETY: the head is there.
        unsafe { (*self.head()).content_length }
    }

    fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.signals.cancelled.get() {
            return Poll::Ready(());
        }
        self.wait_for_signal(cx);
        Poll::Pending
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Content> {
        // No more than one buffer has: libunit would read the rest from the file, and write it to the
        // wrong place.
        let length = self.buffered().min(PIECE);
        if length > 0 {
            let mut piece = vec![0; length];
            // SAFETY: the request is not done, and `piece` has room for `length` bytes.
            let read = unsafe {
                nxt_unit_request_read(self.info.as_ptr(), piece.as_mut_ptr().cast(), length)
            };
            piece.truncate(usize::try_from(read).unwrap_or_default());
            return Poll::Ready(Content::Piece(Bytes::from(piece)));
        }
        // SAFETY: the request is not done.
        let (fd, left) = unsafe {
            let info = self.info.as_ptr();
            ((*info).content_fd, (*info).content_length)
        };
        if left == 0 {
            return Poll::Ready(Content::End);
        }
        if fd < 0 {
            self.wait_for_signal(cx);
            return Poll::Pending;
        }
        // SAFETY: libunit keeps the file open until the request is done.
        let file = unsafe { BorrowedFd::borrow_raw(fd) };
        match file.try_clone_to_owned() {
            Ok(file) => Poll::Ready(Content::File(File::from(file))),
            Err(error) => {
                tracing::error!(
                    "cannot duplicate the file of a request's body: {error}; treating the body as incomplete"
                );
                Poll::Ready(Content::End)
            }
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        status: StatusCode,
        fields: &HeaderMap,
        content: &[u8],
        last: bool,
    ) -> Poll<Result<(), ResponseRefused>> {
        let (Ok(count), Ok::<u32, _>(size)) = (
            u32::try_from(fields.len()),
            u32::try_from(fields_size(fields) + content.len()),
        ) else {
            return Poll::Ready(Err(ResponseRefused));
        };
        // As libunit counts: a NUL after each name and value.
        let total = size_of::<nxt_unit_response_t>()
            + fields.len() * (size_of::<nxt_unit_field_t>() + 2)
            + fields_size(fields)
            + content.len();
        let info = self.info.as_ptr();
        let init = |size| {
            // SAFETY: the request is not done, and nothing of its response has been sent.
            unsafe { nxt_unit_response_init(info, status.as_u16(), count, size) }
        };
        // Padded, so that even a small response goes through shared memory: without it, libunit would
        // send it on a socket, at the cost of a system call on each side.
        let padding = u32::try_from((MAX_PLAIN + 1).saturating_sub(total)).unwrap_or_default();
        let make = || {
            let code = init(size + padding);
            // SAFETY: as above; the buffer is not NULL if libunit has allocated it.
            let buffer = NonNull::new(unsafe { (*info).response_buf });
            // SAFETY: a buffer of libunit's has a beginning.
            let start = buffer.and_then(|it| NonNull::new(unsafe { (*it.as_ptr()).start }));
            (code, start.map(NonNull::cast))
        };
        let memory = self.memory.shared();
        // SAFETY: the request is not done, and of this thread.
        let made = unsafe { memory.with_room_for_head(self.info, &mut self.held, total, make) };
        let code = match made {
            Some(code) => code,
            None if total <= MAX_PLAIN => init(size),
            None => {
                self.memory.wait(cx.waker());
                return Poll::Pending;
            }
        };
        Poll::Ready(accepted(code).and_then(|()| {
            for (name, value) in fields {
                self.add_field(name.as_str(), value.as_bytes())?;
            }
            // SAFETY: the response has been made, with room for `content`.
            unsafe {
                if !content.is_empty() {
                    let length = u32::try_from(content.len()).map_err(|_| ResponseRefused)?;
                    accepted(nxt_unit_response_add_content(
                        info,
                        content.as_ptr().cast(),
                        length,
                    ))?;
                }
                if last {
                    Ok(())
                } else {
                    accepted(nxt_unit_response_send(info))
                }
            }
        }))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, ResponseRefused>> {
        // Back-pressure: nothing limits what libunit sends without shared memory, so each piece gets more room
        // than that. Then even the smallest piece waits for a client that does not read.
        let wanted = data.len().max(MAX_PLAIN + 1);
        // SAFETY: the request is not done, and of this thread.
        let allocation = unsafe {
            self.memory
                .shared()
                .allocate(self.info, &mut self.held, wanted)
        };
        let buffer = match allocation {
            Allocation::Buffer(buffer) => buffer.as_ptr(),
            Allocation::Failed => return Poll::Ready(Err(ResponseRefused)),
            Allocation::Wait => {
                self.memory.wait(cx.waker());
                return Poll::Pending;
            }
        };
        // SAFETY: libunit has just allocated the buffer for this request: from `free` to `end` it is
        // ours to write. It has no other user until it is sent.
        let (length, code) = unsafe {
            let room = (*buffer).end.offset_from((*buffer).free);
            let length = data.len().min(usize::try_from(room).unwrap_or_default());
            ptr::copy_nonoverlapping(data.as_ptr(), (*buffer).free.cast(), length);
            (*buffer).free = (*buffer).free.add(length);
            (length, nxt_unit_buf_send(buffer))
        };
        Poll::Ready(accepted(code).map(|()| length))
    }

    fn finish(mut self) {
        self.outcome = NXT_UNIT_OK as c_int;
    }
}

impl Request {
    fn add_field(&mut self, name: &str, value: &[u8]) -> Result<(), ResponseRefused> {
        let (Ok(name_length), Ok(value_length)) =
            (u8::try_from(name.len()), u32::try_from(value.len()))
        else {
            return Err(ResponseRefused);
        };
        // SAFETY: the response has been made, with room for its fields.
        accepted(unsafe {
            nxt_unit_response_add_field(
                self.info.as_ptr(),
                name.as_ptr().cast::<c_char>(),
                name_length,
                value.as_ptr().cast(),
                value_length,
            )
        })
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let info = self.info.as_ptr();
        // SAFETY: the request is not done before this. libunit's reference to the signals is taken back
        // once, and `data` is NULL from then on, so that no handler can follow it.
        unsafe {
            let data = std::mem::replace(&mut (*info).data, ptr::null_mut());
            drop(Rc::<Signals>::from_raw(data.cast_const().cast()));
            nxt_unit_request_done(info, self.outcome);
        }
    }
}

/// # Safety
///
/// `info` must be one of this thread's requests, or NULL.
unsafe fn signals<'a>(info: *mut nxt_unit_request_info_t) -> Option<&'a Signals> {
    // SAFETY: by the caller's promise. `data` is NULL or what `take` has put there, until the request
    // is dropped.
    unsafe {
        let data: *const Signals = info.as_ref()?.data.cast_const().cast();
        data.as_ref()
    }
}

/// The text that one of the router's serialized pointers leads to.
///
/// # Safety
///
/// `pointer` and the `length` bytes that it leads to must lie in one piece of memory, which must stay valid
/// for as long as the reference is used.
unsafe fn text<'a>(pointer: *const nxt_unit_sptr_t, length: u32) -> &'a [u8] {
    // SAFETY: the pointer is an offset from itself (nxt_unit_sptr.h), and by the caller's promise the
    // bytes are there.
    unsafe {
        let offset = usize::try_from((*pointer).offset).unwrap_or_default();
        let start = pointer.cast::<u8>().add(offset);
        ffi::bytes(start, usize::try_from(length).unwrap_or_default())
    }
}

fn fields_size(fields: &HeaderMap) -> usize {
    let sizes = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    sizes.sum()
}

fn accepted(code: c_int) -> Result<(), ResponseRefused> {
    if code == NXT_UNIT_OK as c_int {
        Ok(())
    } else {
        Err(ResponseRefused)
    }
}
