//! The archives of a release, and their check sums. The same files give the same bytes, whenever they are packed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{output, run};

/// The file with the check sums.
const SUMS: &str = "SHA256SUMS";

/// Files that become one archive, in a folder of its name.
pub(super) struct Archive {
    name: String,
    /// The time of all files, in seconds since 1970.
    time: u64,
    staging: tempfile::TempDir,
}

impl Archive {
    pub(super) fn new(name: String, time: u64) -> Result<Self> {
        let staging = tempfile::tempdir()?;
        fs::create_dir(staging.path().join(&name))?;
        Ok(Self {
            name,
            time,
            staging,
        })
    }

    /// Adds a file under its own name, with its permissions.
    pub(super) fn add(&mut self, file: &Path) -> Result<()> {
        let name = file.file_name().unwrap_or_default();
        let copy = self.staging.path().join(&self.name).join(name);
        fs::copy(file, copy).with_context(|| file.display().to_string())?;
        Ok(())
    }

    /// Writes the archive into a folder.
    ///
    /// # Errors
    ///
    /// When `tar` (GNU's) or `gzip` is missing or fails.
    pub(super) fn write(self, folder: &Path) -> Result<()> {
        let tar = folder.join(format!("{}.tar", self.name));
        let mut pack = Command::new("tar");
        pack.args(["--create", "--format=ustar", "--sort=name"])
            .args(["--owner=0", "--group=0", "--numeric-owner"])
            // What the umask of the builder makes of permissions is left out.
            .arg("--mode=u=rwX,go=rX")
            .arg(format!("--mtime=@{}", self.time))
            .arg("--file")
            .arg(&tar)
            .arg("--directory")
            .arg(self.staging.path());
        run(pack.arg(&self.name))?;
        // Without the name and time of the file within.
        run(Command::new("gzip").args(["-9", "--no-name"]).arg(tar))
    }
}

/// Writes the check sums of all files of a folder, and says where.
///
/// # Errors
///
/// When `sha256sum` is missing or fails.
pub(super) fn write_sums(folder: &Path) -> Result<PathBuf> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        names.push(entry?.file_name());
    }
    names.retain(|name| name != SUMS);
    names.sort();
    let mut sha256sum = Command::new("sha256sum");
    let sums = output(sha256sum.current_dir(folder).arg("--").args(names))?;
    let path = folder.join(SUMS);
    fs::write(&path, sums).with_context(|| path.display().to_string())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "A").unwrap();
        fs::write(&b, "B").unwrap();
        let pack = |order: [&PathBuf; 2]| {
            let out = tempfile::tempdir().unwrap();
            let mut archive = Archive::new("x-1.0".to_owned(), 1_000_000_000).unwrap();
            for file in order {
                archive.add(file).unwrap();
            }
            archive.write(out.path()).unwrap();
            let sums = write_sums(out.path()).unwrap();
            let sums = fs::read_to_string(sums).unwrap();
            assert!(sums.ends_with("  x-1.0.tar.gz\n"), "{sums}");
            sums
        };
        let first = pack([&a, &b]);
        let file = fs::File::options().write(true).open(&a).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
            .unwrap();
        assert_eq!(pack([&b, &a]), first);
        fs::write(&a, "C").unwrap();
        assert_ne!(pack([&a, &b]), first);
    }
}
