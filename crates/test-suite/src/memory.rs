//! The resident memory of a server.

use std::fs;

/// Measures by how much the resident memory of a server's processes grows in total.
#[derive(Debug)]
pub struct Watch {
    /// Process IDs, with their resident bytes at the start.
    before: Vec<(u32, u64)>,
}

impl Watch {
    /// Starts from what is resident now.
    ///
    /// # Panics
    ///
    /// When a process does not exist, or this is not Linux.
    #[must_use]
    pub fn start(pids: &[u32]) -> Self {
        let before = pids.iter().map(|pid| {
            // Resets the peak, VmHWM (proc(5), clear_refs).
            fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
            (*pid, status(*pid, "VmRSS:"))
        });
        Self {
            before: before.collect(),
        }
    }

    /// The growth since the start, in bytes.
    #[must_use]
    pub fn now_above(&self) -> u64 {
        self.growth("VmRSS:")
    }

    /// Checks that the peak since the start has been less than `limit` bytes above it.
    ///
    /// # Panics
    ///
    /// When it has not, or when a process has ended.
    #[track_caller]
    pub fn assert_below(&self, limit: u64) {
        let growth = self.growth("VmHWM:");
        assert!(
            growth < limit,
            "resident memory grew by {} KiB: {:?}",
            growth >> 10,
            self.before
        );
    }

    #[track_caller]
    fn growth(&self, what: &str) -> u64 {
        let each = self.before.iter();
        each.map(|(pid, before)| status(*pid, what).saturating_sub(*before))
            .sum()
    }
}

#[track_caller]
fn status(pid: u32, name: &str) -> u64 {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    match kilobytes.and_then(|number| number.parse::<u64>().ok()) {
        Some(kilobytes) => kilobytes << 10,
        None => panic!("{path} has no {name}"),
    }
}
