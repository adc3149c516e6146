//! The shared memory through which Unit's router receives the responses of this process.
//!
//! How much one response may hold is decided by `unit_app::Ledger`; here libunit allocates it.
//!
//! libunit creates segments of it and allocates buffers in them, but does not say where a segment
//! begins. All buffers of this process are allocated here, one at a time, and the first buffer of a
//! segment is its first chunk. So a buffer outside all known segments shows where a new one begins,
//! and the header there confirms it.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;
use unit_app::{Grant, HeldChunks, Ledger, SegmentMap};
use unit_sys::{
    PORT_MMAP_CHUNK_COUNT, PORT_MMAP_CHUNK_SIZE, PORT_MMAP_DATA_SIZE, PORT_MMAP_HEADER_SIZE,
    nxt_atomic_t, nxt_free_map_t, nxt_port_mmap_header_t, nxt_unit_buf_t, nxt_unit_port_id_t,
    nxt_unit_request_info_t, nxt_unit_response_buf_alloc,
};

/// Bytes in a chunk.
pub(crate) const CHUNK: usize = PORT_MMAP_CHUNK_SIZE as usize;

// The atomics below are laid over these types.
const _: () = assert!(size_of::<nxt_free_map_t>() == size_of::<AtomicUsize>());
const _: () = assert!(size_of::<nxt_atomic_t>() == size_of::<AtomicUsize>());
const _: () = assert!(size_of::<unit_sys::nxt_port_id_t>() == size_of::<AtomicU16>());

/// The shared memory of this process.
#[derive(Debug)]
pub(crate) struct SharedMemory(Mutex<Ledger<Segment>>);

/// The result of an allocation.
pub(crate) enum Allocation {
    /// A buffer that libunit owns until it is sent or its request is done.
    Buffer(NonNull<nxt_unit_buf_t>),
    /// No chunk is available now; the router has been asked to notify libunit when it frees one.
    Wait,
    /// libunit failed, and has logged its reason.
    Failed,
}

impl SharedMemory {
    /// At most `bytes`, in whole segments as libunit counts them, for at most `requests` concurrent
    /// requests.
    pub(crate) fn new(bytes: usize, requests: usize) -> Self {
        // libunit computes this in 32 bits, and its sum wraps around. The limits have to agree.
        #[expect(clippy::cast_possible_truncation, reason = "as libunit does")]
        let rounded = (bytes as u32).wrapping_add(PORT_MMAP_DATA_SIZE - 1);
        let segments = usize::try_from(rounded / PORT_MMAP_DATA_SIZE).unwrap_or_default();
        Self(Mutex::new(Ledger::new(segments, requests)))
    }

    /// Allocates a buffer for up to `bytes` bytes of a response that holds `held`.
    ///
    /// # Safety
    ///
    /// `request` must be a request of this thread's context that is not done.
    pub(crate) unsafe fn allocate(
        &self,
        request: NonNull<nxt_unit_request_info_t>,
        held: &mut HeldChunks,
        bytes: usize,
    ) -> Allocation {
        let mut ledger = self.0.lock();
        let chunks = u32::try_from(bytes.div_ceil(CHUNK)).unwrap_or(u32::MAX);
        // SAFETY: by the caller's promise.
        let port = unsafe { port(request) };
        match ledger.grant(held, chunks, port.id) {
            // SAFETY: by the caller's promise.
            Grant::Chunks(chunks) => unsafe { allocate_chunks(&mut ledger, request, held, chunks) },
            Grant::Wait => Allocation::Wait,
        }
    }

    /// Runs `make`, in which libunit allocates a response's head of `bytes` bytes and which returns
    /// where the head begins. `None` when there is no room for it now; `make` has not run then.
    ///
    /// # Safety
    ///
    /// As for [`allocate`](Self::allocate).
    pub(crate) unsafe fn with_room_for_head<T>(
        &self,
        request: NonNull<nxt_unit_request_info_t>,
        held: &mut HeldChunks,
        bytes: usize,
        make: impl FnOnce() -> (T, Option<NonNull<u8>>),
    ) -> Option<T> {
        let mut ledger = self.0.lock();
        let chunks = u32::try_from(bytes.div_ceil(CHUNK)).unwrap_or(u32::MAX);
        // SAFETY: by the caller's promise.
        let port = unsafe { port(request) };
        if ledger.grant_exactly(chunks, port.id) == Grant::Wait {
            return None;
        }
        let (made, start) = make();
        if let Some((segment, first)) = start.and_then(|start| locate(&mut ledger, start, port)) {
            ledger.record(held, segment, first, chunks);
        }
        Some(made)
    }
}

/// # Safety
///
/// `request` must be one that is not done.
unsafe fn port(request: NonNull<nxt_unit_request_info_t>) -> nxt_unit_port_id_t {
    // SAFETY: by the caller's promise; a request has a response port until it is done.
    unsafe { (*(*request.as_ptr()).response_port).id }
}

/// # Safety
///
/// As for [`SharedMemory::allocate`].
unsafe fn allocate_chunks(
    ledger: &mut Ledger<Segment>,
    request: NonNull<nxt_unit_request_info_t>,
    held: &mut HeldChunks,
    chunks: u32,
) -> Allocation {
    // SAFETY: by the caller's promise. libunit does not block here: the ledger has found the chunks
    // free, and while the ledger is locked no other thread of this process takes them.
    let buffer =
        unsafe { nxt_unit_response_buf_alloc(request.as_ptr(), chunks * PORT_MMAP_CHUNK_SIZE) };
    let Some(buffer) = NonNull::new(buffer) else {
        return Allocation::Failed;
    };
    // SAFETY: libunit has just allocated it.
    let start = NonNull::new(unsafe { (*buffer.as_ptr()).start.cast() });
    // SAFETY: by the caller's promise.
    let port = unsafe { port(request) };
    let Some((segment, first)) = start.and_then(|start| locate(ledger, start, port)) else {
        tracing::error!(
            "libunit's shared memory is not laid out as this module expects; cutting the response off"
        );
        return Allocation::Failed;
    };
    ledger.record(held, segment, first, chunks);
    Allocation::Buffer(buffer)
}

/// The segment and chunk at `start`, where a buffer that libunit has just allocated for `port` begins.
fn locate(
    ledger: &mut Ledger<Segment>,
    start: NonNull<u8>,
    port: nxt_unit_port_id_t,
) -> Option<(usize, u32)> {
    let known = ledger.segments().enumerate().find_map(|(index, segment)| {
        let chunk = segment.chunk_at(start)?;
        Some((index, chunk))
    });
    if known.is_some() {
        return known;
    }
    let index = ledger.segments().len();
    // SAFETY: it begins in no known segment, so it is the first of a new one, whose header comes right
    // before it.
    let segment = unsafe { Segment::before(start) };
    segment.is_number(index, port.pid).then(|| {
        ledger.add(segment);
        (index, 0)
    })
}

/// One segment. libunit unmaps it only after the last context of the process is done.
#[derive(Debug)]
pub(crate) struct Segment {
    header: NonNull<nxt_port_mmap_header_t>,
    creator: ThreadId,
}

// SAFETY: `header` points to memory that all threads of this process share with another process
// anyway. What changes there is only read and written as atomics, here as in C.
unsafe impl Send for Segment {}

impl Segment {
    /// # Safety
    ///
    /// `start` must be where the first chunk of a segment begins.
    unsafe fn before(start: NonNull<u8>) -> Self {
        // SAFETY: by the caller's promise the header is there.
        let header = unsafe { start.sub(PORT_MMAP_HEADER_SIZE as usize) };
        Self {
            header: header.cast(),
            creator: thread::current().id(),
        }
    }

    /// Whether the header has this number and this router process.
    fn is_number(&self, number: usize, router: unit_sys::pid_t) -> bool {
        // SAFETY: the header is mapped. Its creator does not change these two after creating it.
        let (id, process) =
            unsafe { ((*self.header.as_ptr()).id, (*self.header.as_ptr()).dst_pid) };
        usize::try_from(id) == Ok(number) && process == router
    }

    fn chunk_at(&self, start: NonNull<u8>) -> Option<u32> {
        let data = self.header.addr().get() + PORT_MMAP_HEADER_SIZE as usize;
        let offset = start.addr().get().checked_sub(data)?;
        let offset = u32::try_from(offset)
            .ok()
            .filter(|it| *it < PORT_MMAP_DATA_SIZE)?;
        Some(offset / PORT_MMAP_CHUNK_SIZE)
    }

    fn free_map(&self) -> &[AtomicUsize] {
        let bits = usize::BITS as usize;
        // SAFETY: the header is mapped as long as this lives, its map has a bit for each chunk, and
        // both sides use its words as atomics of the same size.
        unsafe {
            let map = &raw const (*self.header.as_ptr()).free_map;
            std::slice::from_raw_parts(map.cast(), Self::CHUNKS as usize / bits)
        }
    }
}

impl SegmentMap for Segment {
    const CHUNKS: u32 = PORT_MMAP_CHUNK_COUNT;

    fn is_free(&self, chunk: u32) -> bool {
        let word = self.free_map().get((chunk / usize::BITS) as usize);
        word.is_some_and(|word| word.load(Ordering::SeqCst) >> (chunk % usize::BITS) & 1 == 1)
    }

    fn is_usable(&self, port: u16) -> bool {
        // SAFETY: the header is mapped, and the router sets this number once, as a whole.
        let sent_over = unsafe {
            let sent_over = &raw const (*self.header.as_ptr()).sent_over;
            (*sent_over.cast::<AtomicU16>()).load(Ordering::SeqCst)
        };
        // All ones once the router has mapped it (nxt_port_memory.c).
        sent_over == u16::MAX || (sent_over == port && self.creator == thread::current().id())
    }

    fn request_notification(&self) {
        // SAFETY: the header is mapped, and both sides use this word as an atomic of the same size.
        unsafe {
            let oosm = &raw const (*self.header.as_ptr()).oosm;
            (*oosm.cast::<AtomicUsize>()).store(1, Ordering::SeqCst);
        }
    }

    fn count_free(&self) -> u32 {
        let words = self.free_map().iter();
        words
            .map(|word| word.load(Ordering::Relaxed).count_ones())
            .sum()
    }
}
