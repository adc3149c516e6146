//! The daemon's allocator, mimalloc, and returning its unused memory to the system. The caller decides when.

pub use mimalloc::MiMalloc;

// SAFETY: the declaration is that of `mimalloc.h`, of the library that the crate `mimalloc` links. The
// function takes no pointer, may be called at any time on any thread, and moves nothing that is in use.
#[expect(unsafe_code, reason = "this crate's purpose")]
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// Returns to the system, at once, the unused memory in the heap of the calling thread, and in the heaps of
/// threads that have ended.
///
/// mimalloc does the same gradually while a thread allocates, so that an idle thread keeps the memory of its
/// busiest time. The heaps of other threads are not touched: each thread has to call this for itself. The time
/// that it takes grows with the memory: milliseconds for a gibibyte.
///
/// It does nothing where [`MiMalloc`] is not the global allocator.
pub fn give_back() {
    mi_collect(true);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[global_allocator]
    static ALLOCATOR: MiMalloc = MiMalloc;

    fn resident_kib() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        let number = line.unwrap().trim().trim_end_matches(" kB");
        number.parse().unwrap()
    }

    #[test]
    fn freed_memory_goes_back_to_the_system() {
        let pieces: Vec<_> = (0..16_000).map(|_| vec![1_u8; 16 << 10]).collect();
        let full = resident_kib();
        drop(pieces);
        give_back();
        let left = resident_kib();
        assert!(left < full / 2, "{left} of {full} KiB");
    }
}
