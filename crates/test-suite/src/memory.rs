use std::fs;

/// How far a process's resident memory grows.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    before: u64,
}

impl Watch {
    /// Starts from what is resident now.
    ///
    /// # Panics
    ///
    /// When there is no such process, or its system is no Linux.
    #[must_use]
    pub fn start(pid: u32) -> Self {
        // The peak counts anew from here (proc(5), clear_refs).
        fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        Self {
            pid,
            before: status(pid, "VmRSS:"),
        }
    }

    /// How far it is now above its start, in bytes.
    #[must_use]
    pub fn now_above(&self) -> u64 {
        status(self.pid, "VmRSS:").saturating_sub(self.before)
    }

    /// Checks that the process never had more than `limit` bytes beyond its start.
    ///
    /// # Panics
    ///
    /// When it had.
    #[track_caller]
    pub fn assert_below(&self, limit: u64) {
        let growth = status(self.pid, "VmHWM:").saturating_sub(self.before);
        assert!(
            growth < limit,
            "resident memory grew by {} KiB, from {} KiB",
            growth >> 10,
            self.before >> 10
        );
    }
}

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
