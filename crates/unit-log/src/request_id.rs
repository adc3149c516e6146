//! Ids that name requests in the logs.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names one request in the logs: 16 bytes, shown as 32 hexadecimal digits like Unit's
/// `$request_id`.
///
/// Unique within a process, and in practice across restarts. It is not a secret and must not be
/// used as one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(u128);

impl RequestId {
    /// The next id of this process.
    #[must_use]
    pub fn next() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        static PROCESS: LazyLock<(u64, u64)> = LazyLock::new(|| {
            let random = RandomState::new();
            (random.hash_one(0u8), random.hash_one(1u8))
        });
        let (high, low) = *PROCESS;
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        // The odd factor spreads neighbouring requests over all digits and stays a bijection.
        let low = low.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self(u128::from(high) << 64 | u128::from(low))
    }
}

impl Default for RequestId {
    /// The [`next`](Self::next) id.
    fn default() -> Self {
        Self::next()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_and_have_32_digits() {
        let ids: HashSet<String> = (0..1000).map(|_| RequestId::next().to_string()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
