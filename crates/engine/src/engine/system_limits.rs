//! The limits that the system sets, for the defaults: memory and open files.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use crate::engine::cgroup;

/// The memory of the machine, or the limit of the process's control group if that is lower; in bytes. `None` where
/// neither can be read.
pub(crate) fn memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_memory(&text));
    machine.into_iter().chain(cgroup::memory_limit()).min()
}

/// The soft limit of open files (`RLIMIT_NOFILE`). The usual 1024 where it cannot be read.
pub(crate) fn files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_bytes() {
        assert_eq!(
            total_memory("MemTotal:       24612345 kB\nMemFree: 1 kB\n"),
            Some(25_203_041_280)
        );
        assert_eq!(total_memory(""), None);
        assert_eq!(total_memory("MemTotal: 99999999999999999999 kB"), None);
        assert_eq!(total_memory("MemTotal: 18446744073709551615 kB"), None);
    }
}
