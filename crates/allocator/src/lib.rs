//! The daemon's allocator, mimalloc, and giving back to the system what it keeps. When to do so is for the
//! caller to say.

pub use mimalloc::MiMalloc;

// SAFETY: the declaration is that of `mimalloc.h`, of the library that the crate `mimalloc` links. The
// function takes no pointer, may be called at any time on any thread, and moves nothing that is in use.
#[expect(unsafe_code, reason = "this crate's purpose")]
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// Frees what the calling thread's heap has kept of memory that is no longer used, and gives it back to
/// the system at once, together with what the heaps of threads that have ended left behind.
///
/// mimalloc does the same little by little when a thread allocates, so that one that is idle keeps what it
/// had at its busiest. Heaps of other threads are not touched: each has to call this for itself. It takes
/// time in proportion to what there is to look at, milliseconds for a gibibyte.
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
