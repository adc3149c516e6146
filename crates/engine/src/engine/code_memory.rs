//! How machine code is made executable, where that is not left to Wasmtime.

use std::fmt;
use std::sync::Arc;

use wasmtime::CustomCodeMemory;

/// What makes machine code executable in place of Wasmtime, which uses mprotect(2).
#[derive(Clone)]
pub struct CodeMemory(Arc<dyn CustomCodeMemory>);

impl CodeMemory {
    /// Passes code to this hook.
    #[must_use]
    pub fn new(hook: impl CustomCodeMemory + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(super) fn hook(&self) -> Arc<dyn CustomCodeMemory> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for CodeMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeMemory")
    }
}
