//! Who holds how much of the memory that an application shares with Unit's router.
//!
//! An application process writes its responses into segments of shared memory, in chunks, and the
//! router frees a chunk when the client has it. All responses of a process share a few segments, and
//! libunit hands chunks out until there are none; a few clients that do not read could take them
//! all, and every other response would wait for those clients.
//!
//! Here each response has a *window* of chunks that it may hold. It is a share of what is free beyond
//! a reserve, which has one chunk for each request that the process may have at a time, as far as
//! half of all goes:
//!
//! `window = clamp((free - reserve) / 16, 1, 16)` chunks
//!
//! So windows shrink while memory gets scarce, and whoever holds nothing finds something.
//!
//! A response at its window waits for one of its own chunks. So a client that reads slowly holds
//! back its own guest.
//!
//! libunit blocks a thread that asks for a chunk when there is none. So nobody asks before the
//! ledger has seen that there is one; and as chunks are taken only while the ledger is locked, it is
//! still there when it is asked for.

/// Chunks that one response may hold when memory is plenty.
const MOST: u32 = 16;

/// A window is this part of what is free.
const SHARE: u32 = 16;

/// Chunks that are taken in one go.
const AT_ONCE: u32 = 4;

/// One segment of shared memory, whose chunks the router frees at any time.
pub trait SegmentMap {
    /// The chunks of any segment.
    const CHUNKS: u32;

    /// Whether nobody has the chunk.
    fn is_free(&self, chunk: u32) -> bool;

    /// Whether chunks may be sent to the router's port `port` by this thread. A segment that has just
    /// been made belongs to its maker until the router has it.
    fn is_usable(&self, port: u16) -> bool;

    /// Asks the router to say so when it frees a chunk from now on.
    fn ask_to_be_told(&self);

    /// How many chunks nobody has.
    fn count_free(&self) -> u32 {
        let free = (0..Self::CHUNKS).filter(|chunk| self.is_free(*chunk));
        u32::try_from(free.count()).unwrap_or(Self::CHUNKS)
    }
}

/// The shared memory of a process.
#[derive(Debug)]
pub struct Ledger<S> {
    segments: Vec<Segment<S>>,
    /// Segments that there may be.
    most: usize,
    /// Chunks for those who hold none.
    reserve: u32,
}

#[derive(Debug)]
struct Segment<S> {
    map: S,
    /// How often each chunk has been taken. Its former holder sees by it that the chunk, though
    /// taken, is no longer its own.
    taken: Vec<u32>,
}

/// The chunks that one response holds, or held when that was last looked at.
#[derive(Debug, Default)]
pub struct Held(Vec<Run>);

/// Neighbouring chunks that are sent, and freed, together.
#[derive(Clone, Copy, Debug)]
struct Run {
    segment: usize,
    last: u32,
    chunks: u32,
    taken: u32,
}

/// An answer to the wish for chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many neighbouring chunks can be taken now.
    Chunks(u32),
    /// None. The router has been asked to tell when that may have changed.
    Wait,
}

impl Held {
    fn chunks(&self) -> u32 {
        self.0.iter().map(|run| run.chunks).sum()
    }
}

impl<S: SegmentMap> Ledger<S> {
    /// A ledger of no segments, of which there may be `most`, for so many requests at a time.
    pub fn new(most: usize, requests: usize) -> Self {
        let most = most.max(1);
        let chunks = u32::try_from(most)
            .unwrap_or(u32::MAX)
            .saturating_mul(S::CHUNKS);
        Self {
            segments: Vec::new(),
            most,
            reserve: u32::try_from(requests).unwrap_or(u32::MAX).min(chunks / 2),
        }
    }

    /// The segments that are known, in the order in which they were added.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &S> {
        self.segments.iter().map(|segment| &segment.map)
    }

    /// Gets to know a segment.
    pub fn add(&mut self, map: S) {
        let chunks = usize::try_from(S::CHUNKS).unwrap_or_default();
        self.segments.push(Segment {
            map,
            taken: vec![0; chunks],
        });
    }

    /// Whether a response that holds `held` may take some of the `wanted` chunks, at least one, for
    /// the router's port `port`.
    pub fn grant(&self, held: &mut Held, wanted: u32, port: u16) -> Grant {
        self.settle(held);
        let window = self.window();
        if held.chunks() >= window {
            for run in &held.0 {
                if let Some(segment) = self.segments.get(run.segment) {
                    segment.map.ask_to_be_told();
                }
            }
            // What was freed before that is not told.
            self.settle(held);
            if held.chunks() >= window {
                return Grant::Wait;
            }
        }
        let wanted = wanted.clamp(1, AT_ONCE).min(window - held.chunks());
        match self.exactly(wanted, port) {
            Grant::Wait if wanted > 1 => self.exactly(1, port),
            grant => grant,
        }
    }

    /// Whether just so many neighbouring chunks can be taken, whoever holds how many.
    pub fn exactly(&self, chunks: u32, port: u16) -> Grant {
        if self.segments.len() < self.most || self.has_run(chunks, port) {
            return Grant::Chunks(chunks);
        }
        for segment in &self.segments {
            segment.map.ask_to_be_told();
        }
        if self.has_run(chunks, port) {
            return Grant::Chunks(chunks);
        }
        Grant::Wait
    }

    /// Writes down that `chunks` chunks from `first` on are taken for the response of `held`.
    pub fn take(&mut self, held: &mut Held, segment: usize, first: u32, chunks: u32) {
        let Some(taken) = self.segments.get_mut(segment).map(|it| &mut it.taken) else {
            return;
        };
        let range = first as usize..(first + chunks) as usize;
        for count in taken.get_mut(range).into_iter().flatten() {
            *count = count.wrapping_add(1);
        }
        let last = first + chunks.saturating_sub(1);
        if let Some(taken) = taken.get(last as usize) {
            held.0.push(Run {
                segment,
                last,
                chunks,
                taken: *taken,
            });
        }
    }

    /// Drops what the router has freed.
    fn settle(&self, held: &mut Held) {
        held.0.retain(|run| {
            self.segments.get(run.segment).is_some_and(|segment| {
                // The router frees a run from its first chunk to its last.
                segment.taken.get(run.last as usize) == Some(&run.taken)
                    && !segment.map.is_free(run.last)
            })
        });
    }

    fn window(&self) -> u32 {
        let known: u32 = self.segments().map(SegmentMap::count_free).sum();
        let not_yet = self.most.saturating_sub(self.segments.len());
        let not_yet = u32::try_from(not_yet)
            .unwrap_or(u32::MAX)
            .saturating_mul(S::CHUNKS);
        let free = known.saturating_add(not_yet);
        (free.saturating_sub(self.reserve) / SHARE).clamp(1, MOST)
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

    /// A segment as libunit and the router use it: which chunks are free, and whether the router is
    /// to tell.
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

        fn ask_to_be_told(&self) {
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

        /// Takes what is granted; the chunks.
        fn take(&mut self, held: &mut Held, wanted: u32) -> Option<Vec<u32>> {
            let Grant::Chunks(granted) = self.ledger.grant(held, wanted, 0) else {
                return None;
            };
            let first = (0..=640 - granted)
                .find(|first| (*first..first + granted).all(|chunk| self.map.is_free(chunk)))
                .expect("what is granted is there");
            let chunks: Vec<u32> = (first..first + granted).collect();
            for chunk in &chunks {
                self.map.0[*chunk as usize].set(false);
            }
            self.ledger.take(held, 0, first, granted);
            Some(chunks)
        }

        fn free(&self, chunks: &[u32]) {
            for chunk in chunks {
                self.map.0[*chunk as usize].set(true);
            }
        }
    }

    #[test]
    fn a_response_stops_at_its_window_and_goes_on_when_its_client_reads() {
        let mut unit = Unit::new();
        let mut held = Held::default();
        let mut sent = VecDeque::new();
        while let Some(chunks) = unit.take(&mut held, 100) {
            sent.push_back(chunks);
        }
        let count: usize = sent.iter().map(Vec::len).sum();
        assert_eq!(count, 16);
        assert!(unit.map.1.get(), "the router is to tell");
        unit.free(&sent.pop_front().unwrap());
        assert!(unit.take(&mut held, 1).is_some());
    }

    #[test]
    fn many_slow_clients_leave_memory_for_others() {
        let mut unit = Unit::new();
        for _ in 0..300 {
            let mut held = Held::default();
            while unit.take(&mut held, 4).is_some() {}
        }
        // All of them hold at least a chunk, and there is one for the next.
        assert!(unit.take(&mut Held::default(), 4).is_some());
    }

    #[test]
    fn nothing_is_granted_when_there_is_nothing() {
        let mut unit = Unit::new();
        for chunk in 0..640 {
            unit.map.0[chunk].set(chunk % 2 == 0);
        }
        // Every second chunk: one can be had, two neighbours cannot.
        assert_eq!(unit.ledger.exactly(2, 0), Grant::Wait);
        assert_eq!(unit.take(&mut Held::default(), 4).unwrap().len(), 1);
        for chunk in 0..640 {
            unit.map.0[chunk].set(false);
        }
        assert!(unit.take(&mut Held::default(), 1).is_none());
    }

    #[test]
    fn a_chunk_that_another_has_taken_since_is_not_counted_twice() {
        let mut unit = Unit::new();
        let (mut first, mut second) = (Held::default(), Held::default());
        let chunks = unit.take(&mut first, 4).unwrap();
        unit.free(&chunks);
        assert_eq!(unit.take(&mut second, 4).unwrap(), chunks);
        unit.ledger.settle(&mut first);
        unit.ledger.settle(&mut second);
        assert_eq!((first.chunks(), second.chunks()), (0, 4));
    }

    #[test]
    fn segments_that_are_not_made_yet_count_as_free() {
        let ledger: Ledger<Fake> = Ledger::new(10, 1000);
        assert_eq!(ledger.window(), 16);
        assert_eq!(ledger.exactly(6, 0), Grant::Chunks(6));
    }
}
