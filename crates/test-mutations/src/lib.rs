//! Mutated inputs for the tests of parsers: seeds, changed at random in a few places.
//!
//! The inputs are the same in every run. With `FUZZ=N` in the environment there are N times as many,
//! and other ones for each N. Coverage-guided fuzzing of the same functions is `cargo xtask fuzz`.
//!
//! ```
//! let mutations = test_mutations::Mutations::of(&["a=1&b=2"]).with_bytes(b"&=%+ ");
//! for text in mutations.texts(1_000) {
//!     let _ = str::from_utf8(&text);
//! }
//! ```

use std::ops::Deref;
use std::thread;

/// How seeds are changed.
pub struct Mutations {
    seeds: Vec<Vec<u8>>,
    bytes: Vec<u8>,
    pieces: Vec<Vec<u8>>,
    longest_copy: usize,
}

impl Mutations {
    /// Mutations of these seeds, none of which is empty.
    pub fn of<S: AsRef<[u8]>>(seeds: &[S]) -> Self {
        Self {
            seeds: seeds.iter().map(|seed| seed.as_ref().to_vec()).collect(),
            bytes: (0..=u8::MAX).collect(),
            pieces: Vec::new(),
            longest_copy: 12,
        }
    }

    /// Bytes that replace others or are inserted; by default all of them.
    #[must_use]
    pub fn with_bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes = bytes.to_vec();
        self
    }

    /// Pieces that are inserted, besides single bytes.
    #[must_use]
    pub fn with_pieces(mut self, pieces: &[&str]) -> Self {
        let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec());
        self.pieces = pieces.collect();
        self
    }

    /// How many bytes of the text itself are copied to another place at most; by default 12.
    #[must_use]
    pub fn with_longest_copy(mut self, bytes: usize) -> Self {
        self.longest_copy = bytes;
        self
    }

    /// `count` texts, times `FUZZ`, of one to five changes each. None is empty.
    pub fn texts(&self, count: usize) -> impl Iterator<Item = MutatedText> {
        let mut random = Random::new();
        (0..count * times()).map(move |round| {
            let mut text = self.seeds[round % self.seeds.len()].clone();
            for _ in 0..=random.below(4) {
                self.change(&mut text, &mut random);
            }
            MutatedText(text)
        })
    }

    fn change(&self, text: &mut Vec<u8>, random: &mut Random) {
        let at = random.below(text.len());
        let byte = self.bytes[random.below(self.bytes.len())];
        match random.below(7) {
            0 => text[at] = byte,
            1 => text[at] ^= 1 << random.below(8),
            2 => {
                // One byte in most cases: a run of them seldom leaves a text that parses.
                let count = if random.below(4) == 0 { 8 } else { 1 };
                text.drain(at..(at + count).min(text.len()));
            }
            // Seldom, since the rest of a text that is cut off is no longer tried.
            3 if random.below(8) == 0 => text.truncate(at + 1),
            4 if !self.pieces.is_empty() => {
                let piece = &self.pieces[random.below(self.pieces.len())];
                text.splice(at..at, piece.iter().copied());
            }
            5 => {
                let end = (at + random.below(self.longest_copy)).min(text.len());
                let copy = text[at..end].to_vec();
                let to = random.below(text.len());
                text.splice(to..to, copy);
            }
            _ => text.insert(at, byte),
        }
        if text.is_empty() {
            text.push(byte);
        }
    }
}

/// A mutated text. If it is dropped by a panic, it prints itself, so that the failure can be repeated
/// where seeds differ from run to run (keys of certificates do).
pub struct MutatedText(Vec<u8>);

impl Deref for MutatedText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for MutatedText {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the mutated text: \"{}\"", self.0.escape_ascii());
        }
    }
}

/// How many times the usual number of texts is asked for: `FUZZ` in the environment, or 1.
#[must_use]
pub fn times() -> usize {
    let times = std::env::var("FUZZ").ok();
    times.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Pseudo-random numbers (xorshift), the same in every run with the same `FUZZ`.
pub struct Random(u64);

impl Random {
    /// At its seed.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default has no seed that depends on FUZZ"
    )]
    pub fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15 ^ times() as u64)
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutated_texts_differ_from_their_seeds_and_are_the_same_in_every_run() {
        let mutations = Mutations::of(&["seed", "another seed"]).with_pieces(&["piece"]);
        let texts = || mutations.texts(500).map(|text| text.to_vec());
        assert!(texts().eq(texts()));
        assert!(texts().all(|text| !text.is_empty()));
        let changed = texts().filter(|text| !matches!(&text[..], b"seed" | b"another seed"));
        assert!(changed.count() > 450);
    }
}
