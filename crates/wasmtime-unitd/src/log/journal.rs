//! Whether systemd's journal reads the log: it adds the time of each line by itself.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

/// The device and the inode of the stream that systemd has connected with the journal (systemd.exec(5)). It is
/// inherited by processes whose streams have been redirected, so these numbers count, and not that it is set.
const VARIABLE: &str = "JOURNAL_STREAM";

/// Whether what is written to `file` goes to the journal directly.
pub(super) fn reads(file: &File) -> bool {
    let Some(stream) = std::env::var_os(VARIABLE) else {
        return false;
    };
    let metadata = file.metadata();
    metadata.is_ok_and(|file| is_named(&stream, file.dev(), file.ino()))
}

fn is_named(stream: &OsStr, device: u64, inode: u64) -> bool {
    let numbers = stream.to_str().and_then(|text| text.split_once(':'));
    numbers.is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journals_stream_is_named_by_device_and_inode() {
        let is_named = |stream: &str| is_named(stream.as_ref(), 9, 4711);
        assert!(is_named("9:4711"));
        for other in [
            "",
            ":",
            "9",
            "9:",
            "9:4712",
            "8:4711",
            "9:4711:1",
            "9:99999999999999999999",
        ] {
            assert!(!is_named(other), "{other}");
        }
    }
}
