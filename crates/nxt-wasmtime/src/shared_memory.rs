//! The memory in which Unit's router gets the responses of this process.
//!
//! libunit makes segments of it and hands out buffers in them; it does not say where a segment
//! begins. But all buffers of this process are asked for here, one at a time, and the first buffer
//! of a segment is its first chunk. So a buffer that lies in no segment that is known yet tells where
//! a new one begins, and the header there confirms it.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use unit_app::{Grant, Held, Ledger, SegmentMap};
use unit_sys::{
    PORT_MMAP_CHUNK_COUNT, PORT_MMAP_CHUNK_SIZE, PORT_MMAP_DATA_SIZE, PORT_MMAP_HEADER_SIZE,
    nxt_atomic_t, nxt_free_map_t, nxt_port_mmap_header_t, nxt_unit_buf_t, nxt_unit_port_id_t,
    nxt_unit_request_info_t, nxt_unit_response_buf_alloc,
};

/// Bytes of a chunk.
pub(crate) const CHUNK: usize = PORT_MMAP_CHUNK_SIZE as usize;

// What the atomics below are laid over.
const _: () = assert!(size_of::<nxt_free_map_t>() == size_of::<AtomicUsize>());
const _: () = assert!(size_of::<nxt_atomic_t>() == size_of::<AtomicUsize>());
const _: () = assert!(size_of::<unit_sys::nxt_port_id_t>() == size_of::<AtomicU16>());

/// The shared memory of this process.
#[derive(Debug)]
pub(crate) struct SharedMemory(Mutex<Ledger<Segment>>);

/// What became of a wish for memory.
pub(crate) enum Taken {
    /// A buffer that libunit owns until it is sent or its request is done.
    Buffer(NonNull<nxt_unit_buf_t>),
    /// There is none now; the router will say when that may have changed.
    Wait,
    /// libunit failed, and has logged why.
    Failed,
}

impl SharedMemory {
    /// At most `bytes` of it, in whole segments, as libunit counts, for so many requests at a time.
    pub(crate) fn new(bytes: usize, requests: usize) -> Self {
        // libunit has 32 bits for it, and its sum wraps around.
        #[expect(clippy::cast_possible_truncation, reason = "as libunit does")]
        let rounded = (bytes as u32).wrapping_add(PORT_MMAP_DATA_SIZE - 1);
        let segments = usize::try_from(rounded / PORT_MMAP_DATA_SIZE).unwrap_or_default();
        Self(Mutex::new(Ledger::new(segments, requests)))
    }

    /// Takes a buffer for up to `bytes` bytes of a response that holds `held`.
    ///
    /// # Safety
    ///
    /// `request` must be a request of this thread's context that is not done.
    pub(crate) unsafe fn take(
        &self,
        request: NonNull<nxt_unit_request_info_t>,
        held: &mut Held,
        bytes: usize,
    ) -> Taken {
        let mut ledger = self.lock();
        let chunks = u32::try_from(bytes.div_ceil(CHUNK)).unwrap_or(u32::MAX);
        // SAFETY: by the caller's promise.
        let port = unsafe { port(request) };
        match ledger.grant(held, chunks, port.id) {
            // SAFETY: by the caller's promise.
            Grant::Chunks(chunks) => unsafe { allocate(&mut ledger, request, held, chunks) },
            Grant::Wait => Taken::Wait,
        }
    }

    /// Whether a response's head of `bytes` bytes can be made now. If so, `make` is run, in which
    /// libunit takes the memory; it says where the head begins.
    ///
    /// # Safety
    ///
    /// As for [`take`](Self::take).
    pub(crate) unsafe fn with_room_for_head<T>(
        &self,
        request: NonNull<nxt_unit_request_info_t>,
        held: &mut Held,
        bytes: usize,
        make: impl FnOnce() -> (T, Option<NonNull<u8>>),
    ) -> Option<T> {
        let mut ledger = self.lock();
        let chunks = u32::try_from(bytes.div_ceil(CHUNK)).unwrap_or(u32::MAX);
        // SAFETY: by the caller's promise.
        let port = unsafe { port(request) };
        if ledger.exactly(chunks, port.id) == Grant::Wait {
            return None;
        }
        let (made, start) = make();
        if let Some((segment, first)) = start.and_then(|start| locate(&mut ledger, start, port)) {
            ledger.take(held, segment, first, chunks);
        }
        Some(made)
    }

    fn lock(&self) -> MutexGuard<'_, Ledger<Segment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
/// As for [`SharedMemory::take`].
unsafe fn allocate(
    ledger: &mut Ledger<Segment>,
    request: NonNull<nxt_unit_request_info_t>,
    held: &mut Held,
    chunks: u32,
) -> Taken {
    // SAFETY: by the caller's promise. libunit does not wait for memory here: the ledger has seen
    // that it is there, and while the ledger is locked nobody else in this process takes it.
    let buffer =
        unsafe { nxt_unit_response_buf_alloc(request.as_ptr(), chunks * PORT_MMAP_CHUNK_SIZE) };
    let Some(buffer) = NonNull::new(buffer) else {
        return Taken::Failed;
    };
    // SAFETY: libunit has just made it.
    let start = NonNull::new(unsafe { (*buffer.as_ptr()).start.cast() });
    // SAFETY: by the caller's promise.
    let port = unsafe { port(request) };
    let Some((segment, first)) = start.and_then(|start| locate(ledger, start, port)) else {
        tracing::error!("libunit keeps its shared memory otherwise than this module expects");
        return Taken::Failed;
    };
    ledger.take(held, segment, first, chunks);
    Taken::Buffer(buffer)
}

/// The segment and chunk at `start`, where a buffer that libunit has just made for `port` begins.
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
    // SAFETY: it begins in no known segment, so that it is the first of a new one, whose header comes
    // right before it.
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
    maker: ThreadId,
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
            maker: thread::current().id(),
        }
    }

    /// Whether it says of itself that it is the segment of this number, for this router process.
    fn is_number(&self, number: usize, router: unit_sys::pid_t) -> bool {
        // SAFETY: the header is mapped. Its maker does not change these two after it made it.
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
        // All ones since the router has mapped it (nxt_port_memory.c).
        sent_over == u16::MAX || (sent_over == port && self.maker == thread::current().id())
    }

    fn ask_to_be_told(&self) {
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
