use std::hash::Hasher;

use engine::{Engine, Source};

/// Told apart from whatever else may be hashed, and from other forms of an entry.
const CONTEXT: &str = "wasmtime-unitd 2026-11-23 compiled component, form 1";

/// What machine code comes from: the component and the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(blake3::Hash);

impl Key {
    pub(crate) fn of(engine: &Engine, source: &Source) -> Self {
        let mut state = State(blake3::Hasher::new_derive_key(CONTEXT));
        engine.fingerprint(&mut state);
        // The fingerprint tells its own end; the component is the rest.
        state.0.update(blake3::hash(source.bytes()).as_bytes());
        Self(state.0.finalize())
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The entry's name in the folder.
    pub(crate) fn name(&self) -> String {
        self.0.to_hex().to_string()
    }
}

/// Takes what implements [`std::hash::Hash`].
struct State(blake3::Hasher);

impl Hasher for State {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of no use here; the key is the whole hash.
    fn finish(&self) -> u64 {
        0
    }
}
