//! The key of an entry, which is its name: a hash of component and compiler.

use std::hash::Hasher;

use engine::{Engine, Source};

/// Separates these hashes from any others, and from other formats of an entry. Changed with the format.
const CONTEXT: &str = "wasmtime-unitd 2026-11-24 compiled component, form 2";

/// The versions of everything that influences the machine code, including this repository. The engine's fingerprint has
/// Wasmtime's version and settings, but not the versions of all of its crates.
const VERSIONS: &str = concat!(env!("CARGO_PKG_VERSION"), ": ", env!("COMPILER_VERSIONS"));

/// Identifies machine code by its origin: the component and the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(blake3::Hash);

impl Key {
    pub(crate) fn of(engine: &Engine, source: &Source) -> Self {
        let mut state = KeyHasher(blake3::Hasher::new_derive_key(CONTEXT));
        state.0.update(blake3::hash(VERSIONS.as_bytes()).as_bytes());
        engine.fingerprint(&mut state);
        // Not ambiguous: the fingerprint is self-delimiting, and the rest is the component.
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

/// Adapts [`std::hash::Hash`] to BLAKE3.
struct KeyHasher(blake3::Hasher);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not used: the key is the complete hash.
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
