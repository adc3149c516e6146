use std::hash::Hasher;

use engine::{Engine, Source};

/// Told apart from whatever else may be hashed, and from other forms of an entry.
const CONTEXT: &str = "wasmtime-unitd 2026-11-24 compiled component, form 2";

/// The versions of what makes the code, this repository's own included: the engine's fingerprint tells
/// Wasmtime's and its settings, but not of all of its parts.
const VERSIONS: &str = concat!(env!("CARGO_PKG_VERSION"), ": ", env!("COMPILER_VERSIONS"));

/// What machine code comes from: the component and the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(blake3::Hash);

impl Key {
    pub(crate) fn of(engine: &Engine, source: &Source) -> Self {
        let mut state = State(blake3::Hasher::new_derive_key(CONTEXT));
        state.0.update(blake3::hash(VERSIONS.as_bytes()).as_bytes());
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

#[cfg(test)]
mod tests {
    #[test]
    fn the_key_names_the_compiler() {
        for part in ["cranelift-codegen ", "regalloc2 ", "wasmtime "] {
            assert!(
                super::VERSIONS.contains(part),
                "{part}: {}",
                super::VERSIONS
            );
        }
    }
}
