//! Figures of this process from the operating system.

use std::fs;
use std::time::{Duration, SystemTime};

use control::Process;
use nix::time::{ClockId, clock_gettime};

pub(super) fn of(started: SystemTime) -> Process {
    let processor_time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok();
    Process {
        resident_memory: fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|text| resident(&text)),
        processor_time: processor_time.map(Duration::from),
        started: started
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    }
}

/// The bytes that a text such as that of `/proc/self/status` names (proc(5)).
fn resident(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_out_of_its_line() {
        let text = "Name:\tx\nVmHWM:\t      16 kB\nVmRSS:\t       8 kB\nVmData:\t 1 kB\n";
        assert_eq!(resident(text), Some(8192));
        assert_eq!(resident("VmHWM:\t 16 kB\n"), None);
        assert_eq!(resident("VmRSS:\t 18446744073709551615 kB\n"), None);
    }
}
