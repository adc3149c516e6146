//! Where a configuration is read from.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::read::io_error;
use crate::{Files, MAX_NAMES, ReadError, Stamp};

/// A file or a folder. Which of them is decided whenever it is looked at or read.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
}

/// The versions of all files of a [`Source`], at one moment. If two are equal, nothing has changed in between; see
/// [`Stamp`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Of a file, or of a folder that cannot be read.
    whole: Option<Stamp>,
    /// Of a folder's files, by name.
    files: Vec<(OsString, Stamp)>,
}

impl Look {
    /// Whether all files were last changed before `time`; see [`Stamp::is_older_than`].
    #[must_use]
    pub fn is_older_than(&self, time: SystemTime) -> bool {
        let mut stamps = self
            .whole
            .iter()
            .chain(self.files.iter().map(|(_, stamp)| stamp));
        stamps.all(|stamp| stamp.is_older_than(time))
    }
}

/// What a file in a folder is read as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Configuration,
    Certificate,
    Other,
}

impl FileKind {
    fn of(name: &OsStr) -> Self {
        match Path::new(name).extension().and_then(OsStr::to_str) {
            Some("json") => Self::Configuration,
            Some("pem") => Self::Certificate,
            _ => Self::Other,
        }
    }
}

impl Source {
    /// A source that does not have to exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file or folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that private keys may be in, if it is one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.path.is_dir().then_some(&self.path)
    }

    /// Looks at all files without reading them.
    #[must_use]
    pub fn look(&self) -> Look {
        match self.names() {
            Ok(Some(names)) => Look {
                whole: None,
                files: names
                    .into_iter()
                    .filter(|name| FileKind::of(name) != FileKind::Other)
                    .map(|name| {
                        let stamp = Stamp::of(&self.path.join(&name));
                        (name, stamp)
                    })
                    .collect(),
            },
            Ok(None) | Err(_) => Look {
                whole: Some(Stamp::of(&self.path)),
                files: Vec::new(),
            },
        }
    }

    /// Reads all files. Those that change meanwhile may be read in their old and in their new version: the content
    /// belongs together only if a [`look`](Self::look) before and one after it are equal.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, is not JSON or not a certificate bundle, or if they cannot be merged.
    pub fn read(&self) -> Result<Files, ReadError> {
        let Some(names) = self.names()? else {
            return Files::of_file(self.path.clone());
        };
        let (mut configurations, mut certificates, mut others) = (vec![], vec![], vec![]);
        for name in names {
            let path = self.path.join(&name);
            match FileKind::of(&name) {
                FileKind::Configuration => configurations.push(path),
                FileKind::Certificate => certificates.push(path),
                FileKind::Other => others.push(path),
            }
        }
        others.retain(|path| !path.is_dir());
        Files::of_folder(self.path.clone(), configurations, certificates, others)
    }

    /// The names of a folder that are not hidden, in order. `None` if it is a file.
    fn names(&self) -> Result<Option<Vec<OsString>>, ReadError> {
        let path = &self.path;
        if !fs::metadata(path).map_err(io_error(path))?.is_dir() {
            return Ok(None);
        }
        let mut names = Vec::new();
        for (index, entry) in fs::read_dir(path).map_err(io_error(path))?.enumerate() {
            if index == MAX_NAMES {
                return Err(ReadError::TooMany(path.clone()));
            }
            let name = entry.map_err(io_error(path))?.file_name();
            if !name.as_encoded_bytes().starts_with(b".") {
                names.push(name);
            }
        }
        names.sort();
        Ok(Some(names))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn error(folder: &tempfile::TempDir) -> String {
        let error = Source::new(folder.path()).read().unwrap_err().to_string();
        // Paths are shown with their folder.
        error.replace(&format!("{}/", folder.path().display()), "")
    }

    fn bundle() -> String {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        made.cert.pem() + &made.signing_key.serialize_pem()
    }

    #[test]
    fn a_folder_is_merged_and_its_other_files_are_ignored() {
        let folder = folder(&[
            (
                "20-b.json",
                r#"{"applications": {"b": {}}} // with a comment
"#,
            ),
            ("10-a.json", r#"{"applications": {"a": {}}}"#),
            (".hidden.json", "nonsense"),
            ("setup.sh", ""),
            ("README", ""),
            ("site.pem", &bundle()),
        ]);
        let files = Source::new(folder.path()).read().unwrap();
        assert_eq!(
            config::print(&files.tree),
            r#"{"applications":{"a":{},"b":{}}}"#
        );
        let names: Vec<_> = files.certificates.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["site"]);
        let ignored = ["README", "setup.sh"].map(|name| folder.path().join(name));
        assert_eq!(files.ignored, ignored);
    }

    #[test]
    fn a_place_is_that_of_the_file_that_has_the_value() {
        let folder = folder(&[
            ("a.json", "{\n \"applications\": {\"a\": {\"type\": 1}}}"),
            ("b.json", "{\"applications\": {\n\n \"b\": {\"type\": 1}}}"),
        ]);
        let files = Source::new(folder.path()).read().unwrap();
        for (path, place) in [
            ("/applications/a/type", "a.json\", line 2, column 33"),
            ("/applications/b/type", "b.json\", line 3, column 16"),
            ("/applications/b/component", "b.json\", line 3, column 7"),
            ("/applications/c", "b.json\", line 1, column 18"),
        ] {
            let found = files.place(&config::Path::parse(path).unwrap());
            assert!(found.ends_with(place), "{path}: {found}");
        }
    }

    #[test]
    fn a_folder_as_kubernetes_mounts_it_is_read_through_its_links() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for (version, text) in [("..1", r#"{"routes": []}"#), ("..2", r#"{"routes": {}}"#)] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("a.json"), text).unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        symlink("..data/a.json", path("a.json")).unwrap();
        let source = Source::new(root.path());
        let first = source.look();
        assert_eq!(
            config::print(&source.read().unwrap().tree),
            r#"{"routes":[]}"#
        );
        symlink("..2", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        assert_ne!(source.look(), first);
        assert_eq!(
            config::print(&source.read().unwrap().tree),
            r#"{"routes":{}}"#
        );
    }

    #[test]
    fn a_look_notices_files_that_come_change_and_go() {
        let folder = folder(&[("a.json", "{}")]);
        let source = Source::new(folder.path());
        let mut looks = vec![source.look()];
        fs::write(folder.path().join("b.pem"), "").unwrap();
        looks.push(source.look());
        fs::write(folder.path().join("a.json"), "{ }").unwrap();
        looks.push(source.look());
        fs::remove_dir_all(folder.path()).unwrap();
        looks.push(source.look());
        for pair in looks.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
        assert_eq!(looks[3], source.look());
    }

    #[test]
    fn an_invalid_file_is_an_error_with_its_path_and_place() {
        for (files, expected) in [
            (&[("a.json", "")][..], "\"a.json\", line 1, column 1: "),
            (
                &[("a.json", "{\n\"a\" 1}")],
                "\"a.json\", line 2, column 5: ",
            ),
            (&[("a.json", "{\"a\": {")], "\"a.json\", line 1, column 8: "),
            (&[("a.json", "[]")], "\"a.json\" is not an object"),
            (
                &[("a.json", r#"{"x": 1}"#), ("b.json", "{\n\"x\": 1}")],
                "\"b.json\", line 2, column 6: \"/x\" is also in \"a.json\", line 1, column 7",
            ),
            (&[("a.json", "{}"), ("x.pem", "x")], "\"x.pem\": "),
            (&[("a.txt", "{}")], "has no file whose name ends with .json"),
        ] {
            let error = error(&folder(files));
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn pipes_folders_symlink_loops_and_invalid_utf_8_are_errors_and_block_nothing() {
        let unreadable = folder(&[("a.json", "{}")]);
        let path = |name: &str| unreadable.path().join(name);
        fs::write(path("b.json"), b"{\"a\": \"\xFF\"}").unwrap();
        assert!(error(&unreadable).contains("\"b.json\", line 1, column 8"));
        fs::remove_file(path("b.json")).unwrap();
        symlink("b.json", path("b.json")).unwrap();
        assert!(error(&unreadable).starts_with("cannot read \"b.json\": "));
        fs::remove_file(path("b.json")).unwrap();
        nix::unistd::mkfifo(&path("b.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(error(&unreadable).contains("\"b.json\" is neither a file nor a folder"));
        fs::remove_file(path("b.json")).unwrap();
        fs::create_dir(path("b.json")).unwrap();
        assert!(error(&unreadable).contains("\"b.json\" is neither a file nor a folder"));
    }

    #[test]
    fn the_size_of_all_files_together_is_limited() {
        let half = format!("{{}}{}", " ".repeat(9 << 20));
        let both = folder(&[("a.json", &half), ("b.json", &half)]);
        assert!(error(&both).contains("\"b.json\": the configuration is larger"));
        fs::remove_file(both.path().join("b.json")).unwrap();
        assert!(Source::new(both.path()).read().is_ok());
    }

    #[test]
    fn a_single_file_needs_no_name() {
        let folder = folder(&[("settings", r#"{"routes": [1]}"#)]);
        let files = Source::new(folder.path().join("settings")).read().unwrap();
        assert_eq!(config::print(&files.tree), r#"{"routes":[1]}"#);
        let path = config::Path::parse("/routes/0").unwrap();
        assert!(
            files
                .place(&path)
                .ends_with("settings\", line 1, column 13")
        );
    }
}
