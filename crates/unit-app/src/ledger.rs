//! Back-pressure for responses: how much each of them may hold of the memory that an application shares
//! with Unit's router.
//!
//! An application process writes its responses into segments of shared memory, in chunks, and the
//! router frees a chunk once its data has been sent to the client. All responses of a process share a
//! few segments, and libunit allocates chunks until none are left. A few clients that do not read could
//! hold all of them, and every other response would wait for those clients.
//!
//! Here each response has a *window* of chunks that it may hold: a share of the free chunks beyond a
//! reserve. The reserve is one chunk for each concurrent request that the process allows, but at most
//! half of all chunks.
//!
//! `window = clamp((free - reserve) / 16, 1, 16)` chunks
//!
//! So windows shrink as memory gets scarce, and a response that holds nothing can always get a chunk.
//! A response whose window is full waits until the router frees one of its own chunks. So a slow client
//! delays only its own guest.
//!
//! libunit blocks the calling thread if it has no chunk to allocate. So it is called only after the
//! ledger has found a free one, and while the ledger is locked, so that no other thread takes it.

/// The most chunks of one response, when memory is plenty.
const MAX_WINDOW: u32 = 16;

/// A window is one part in so many of the free chunks.
const FREE_PER_WINDOW: u32 = 16;

/// The most chunks of one allocation.
const MAX_ALLOCATION: u32 = 4;

/// One segment of shared memory. The router may free its chunks at any time.
pub trait SegmentMap {
    /// The number of chunks in each segment.
    const CHUNKS: u32;

    /// `chunk` is less than [`CHUNKS`](Self::CHUNKS).
    fn is_free(&self, chunk: u32) -> bool;

    /// Whether this thread may send chunks to the router's port `port`. Until the router has mapped a
    /// new segment, only the thread that created it may, and only to the port that it was sent to.
    fn is_usable(&self, port: u16) -> bool;

    /// Asks the router for a notification when it next frees a chunk.
    fn request_notification(&self);

    /// The number of free chunks.
    fn count_free(&self) -> u32 {
        let free = (0..Self::CHUNKS).filter(|chunk| self.is_free(*chunk));
        u32::try_from(free.count()).unwrap_or(Self::CHUNKS)
    }
}

/// The shared memory of a process.
#[derive(Debug)]
pub struct Ledger<S> {
    segments: Vec<Segment<S>>,
    max_segments: usize,
    /// Chunks that windows leave free, for responses that hold none.
    reserve: u32,
}

#[derive(Debug)]
struct Segment<S> {
    map: S,
    /// How often each chunk has been allocated. A response sees by it that a chunk that it held was freed,
    /// even if another response has allocated it since.
    allocations: Vec<u32>,
}

/// The chunks that one response holds, as of the last [`grant`](Ledger::grant).
#[derive(Debug, Default)]
pub struct HeldChunks(Vec<Run>);

/// Neighbouring chunks that are sent and freed together.
#[derive(Clone, Copy, Debug)]
struct Run {
    segment: usize,
    last: u32,
    chunks: u32,
    /// The count of `allocations` of the last chunk, while this run holds it.
    allocation: u32,
}

/// Whether chunks may be allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many neighbouring chunks may be allocated now.
    Chunks(u32),
    /// None. The router has been asked for a notification when it frees some.
    Wait,
}

impl HeldChunks {
    fn chunks(&self) -> u32 {
        self.0.iter().map(|run| run.chunks).sum()
    }
}

impl<S: SegmentMap> Ledger<S> {
    /// A ledger without segments, to which up to `max_segments` may be added, for up to `requests`
    /// concurrent requests.
    pub fn new(max_segments: usize, requests: usize) -> Self {
        let max_segments = max_segments.max(1);
        let chunks = u32::try_from(max_segments)
            .unwrap_or(u32::MAX)
            .saturating_mul(S::CHUNKS);
        Self {
            segments: Vec::new(),
            max_segments,
            reserve: u32::try_from(requests).unwrap_or(u32::MAX).min(chunks / 2),
        }
    }

    /// The segments, in the order in which they were added.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &S> {
        self.segments.iter().map(|segment| &segment.map)
    }

    /// Adds a segment that libunit has created.
    pub fn add(&mut self, map: S) {
        let chunks = usize::try_from(S::CHUNKS).unwrap_or_default();
        self.segments.push(Segment {
            map,
            allocations: vec![0; chunks],
        });
    }

    /// Whether a response that holds `held` may allocate chunks for the router's port `port`: up to
    /// `wanted`, and at least one.
    pub fn grant(&self, held: &mut HeldChunks, wanted: u32, port: u16) -> Grant {
        self.forget_freed(held);
        let window = self.window();
        if held.chunks() >= window {
            for run in &held.0 {
                if let Some(segment) = self.segments.get(run.segment) {
                    segment.map.request_notification();
                }
            }
            // Again: a chunk freed before the request causes no notification.
            self.forget_freed(held);
            if held.chunks() >= window {
                return Grant::Wait;
            }
        }
        let wanted = wanted.clamp(1, MAX_ALLOCATION).min(window - held.chunks());
        match self.grant_exactly(wanted, port) {
            Grant::Wait if wanted > 1 => self.grant_exactly(1, port),
            grant => grant,
        }
    }

    /// Whether exactly so many neighbouring chunks may be allocated, regardless of windows.
    pub fn grant_exactly(&self, chunks: u32, port: u16) -> Grant {
        if self.segments.len() < self.max_segments || self.has_run(chunks, port) {
            return Grant::Chunks(chunks);
        }
        for segment in &self.segments {
            segment.map.request_notification();
        }
        if self.has_run(chunks, port) {
            return Grant::Chunks(chunks);
        }
        Grant::Wait
    }

    /// Records that `chunks` chunks from `first` on have been allocated for the response of `held`.
    pub fn record(&mut self, held: &mut HeldChunks, segment: usize, first: u32, chunks: u32) {
        let Some(allocations) = self.segments.get_mut(segment).map(|it| &mut it.allocations) else {
            return;
        };
        let range = first as usize..(first + chunks) as usize;
        for count in allocations.get_mut(range).into_iter().flatten() {
            *count = count.wrapping_add(1);
        }
        let last = first + chunks.saturating_sub(1);
        if let Some(allocation) = allocations.get(last as usize) {
            held.0.push(Run {
                segment,
                last,
                chunks,
                allocation: *allocation,
            });
        }
    }

    /// Removes from `held` what the router has freed.
    fn forget_freed(&self, held: &mut HeldChunks) {
        held.0.retain(|run| {
            self.segments.get(run.segment).is_some_and(|segment| {
                // The last chunk decides: the router frees a run from its first to its last.
                segment.allocations.get(run.last as usize) == Some(&run.allocation)
                    && !segment.map.is_free(run.last)
            })
        });
    }

    fn window(&self) -> u32 {
        let known: u32 = self.segments().map(SegmentMap::count_free).sum();
        let to_create = self.max_segments.saturating_sub(self.segments.len());
        let to_create = u32::try_from(to_create)
            .unwrap_or(u32::MAX)
            .saturating_mul(S::CHUNKS);
        let free = known.saturating_add(to_create);
        (free.saturating_sub(self.reserve) / FREE_PER_WINDOW).clamp(1, MAX_WINDOW)
    }

    fn has_run(&self, chunks: u32, port: u16) -> bool {
        let usable = self.segments().filter(|segment| segment.is_usable(port));
        usable.into_iter().any(|segment| {
            let mut run = 0;
            (0..S::CHUNKS).any(|chunk| {
                run = if segment.is_free(chunk) { run + 1 } else { 0 };
                run == chunks
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    use super::*;

    /// A segment: which chunks are free, and whether a notification has been requested.
    #[derive(Clone)]
    struct Fake(Rc<[Cell<bool>; 640]>, Rc<Cell<bool>>);

    impl Fake {
        fn new() -> Self {
            Self(Rc::new([const { Cell::new(true) }; 640]), Rc::default())
        }
    }

    impl SegmentMap for Fake {
        const CHUNKS: u32 = 640;

        fn is_free(&self, chunk: u32) -> bool {
            self.0[chunk as usize].get()
        }

        fn is_usable(&self, _: u16) -> bool {
            true
        }

        fn request_notification(&self) {
            self.1.set(true);
        }
    }

    /// libunit with one segment.
    struct Unit {
        ledger: Ledger<Fake>,
        map: Fake,
    }

    impl Unit {
        fn new() -> Self {
            let map = Fake::new();
            let mut ledger = Ledger::new(1, 1000);
            ledger.add(map.clone());
            Self { ledger, map }
        }

        /// Allocates what is granted, and returns the chunks.
        fn take(&mut self, held: &mut HeldChunks, wanted: u32) -> Option<Vec<u32>> {
            let Grant::Chunks(granted) = self.ledger.grant(held, wanted, 0) else {
                return None;
            };
            let first = (0..=640 - granted)
                .find(|first| (*first..first + granted).all(|chunk| self.map.is_free(chunk)))
                .expect("granted chunks are free");
            let chunks: Vec<u32> = (first..first + granted).collect();
            for chunk in &chunks {
                self.map.0[*chunk as usize].set(false);
            }
            self.ledger.record(held, 0, first, granted);
            Some(chunks)
        }

        fn free(&self, chunks: &[u32]) {
            for chunk in chunks {
                self.map.0[*chunk as usize].set(true);
            }
        }
    }

    #[test]
    fn back_pressure_stops_a_response_at_its_window_until_its_client_reads() {
        let mut unit = Unit::new();
        let mut held = HeldChunks::default();
        let mut sent = VecDeque::new();
        while let Some(chunks) = unit.take(&mut held, 100) {
            sent.push_back(chunks);
        }
        let count: usize = sent.iter().map(Vec::len).sum();
        assert_eq!(count, 16);
        assert!(unit.map.1.get(), "a notification is requested");
        unit.free(&sent.pop_front().unwrap());
        assert!(unit.take(&mut held, 1).is_some());
    }

    #[test]
    fn many_slow_clients_leave_memory_for_others() {
        let mut unit = Unit::new();
        for _ in 0..300 {
            let mut held = HeldChunks::default();
            while unit.take(&mut held, 4).is_some() {}
        }
        // All of them hold at least one chunk, and there is one for the next.
        assert!(unit.take(&mut HeldChunks::default(), 4).is_some());
    }

    #[test]
    fn nothing_is_granted_without_free_chunks() {
        let mut unit = Unit::new();
        for chunk in 0..640 {
            unit.map.0[chunk].set(chunk % 2 == 0);
        }
        // Every second chunk is free: one can be allocated, two neighbours cannot.
        assert_eq!(unit.ledger.grant_exactly(2, 0), Grant::Wait);
        assert_eq!(unit.take(&mut HeldChunks::default(), 4).unwrap().len(), 1);
        for chunk in 0..640 {
            unit.map.0[chunk].set(false);
        }
        assert!(unit.take(&mut HeldChunks::default(), 1).is_none());
    }

    #[test]
    fn a_chunk_that_another_response_has_allocated_since_is_not_counted_twice() {
        let mut unit = Unit::new();
        let (mut first, mut second) = (HeldChunks::default(), HeldChunks::default());
        let chunks = unit.take(&mut first, 4).unwrap();
        unit.free(&chunks);
        assert_eq!(unit.take(&mut second, 4).unwrap(), chunks);
        unit.ledger.forget_freed(&mut first);
        unit.ledger.forget_freed(&mut second);
        assert_eq!((first.chunks(), second.chunks()), (0, 4));
    }

    #[test]
    fn segments_that_do_not_exist_yet_count_as_free() {
        let ledger: Ledger<Fake> = Ledger::new(10, 1000);
        assert_eq!(ledger.window(), 16);
        assert_eq!(ledger.grant_exactly(6, 0), Grant::Chunks(6));
    }
}
