//! The absolute paths of an application's files, by `working_directory` and `isolation.rootfs`.

use std::path::{Component, Path, PathBuf};

use super::access::Folder;
use super::checker::Checker;
use super::error::ConfigError;

/// The folders that an application's paths are relative to.
///
/// Unit changes its root to `isolation.rootfs` and then its folder to `working_directory`. Here one process serves all
/// applications, so that both are put before the paths instead. The file is the same one, except that absolute
/// symlinks start at the machine's root.
#[derive(Default)]
pub(super) struct Base<'a> {
    /// `isolation.rootfs`: absolute, and not the machine's root.
    pub(super) root: Option<&'a str>,
    /// `working_directory`, not empty.
    pub(super) directory: Option<&'a str>,
}

impl Base<'_> {
    /// The absolute path for the member `name` at the current place.
    ///
    /// # Errors
    ///
    /// If it is relative, and there is no absolute `working_directory`.
    pub(super) fn path(
        &self,
        checker: &Checker<'_>,
        name: &str,
        text: &str,
    ) -> Result<PathBuf, ConfigError> {
        let path = Path::new(self.directory.unwrap_or_default()).join(text);
        match self.root {
            Some(root) => Ok(inside(root, &path)),
            None if path.is_absolute() => Ok(path),
            None => Err(checker.error(format!(
                "The \"{name}\" path must be absolute, or relative to a \"working_directory\" that \
                 is."
            ))),
        }
    }

    /// The same for a folder, whose path is absolute.
    pub(super) fn folders(&self, folders: &mut [Folder]) {
        if let Some(root) = self.root {
            for folder in folders {
                folder.path = inside(root, &folder.path);
            }
        }
    }
}

/// A path below `root`; no `..` segment can leave it.
fn inside(root: &str, path: &Path) -> PathBuf {
    let mut below: Vec<_> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::ParentDir => drop(below.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let below: PathBuf = below.into_iter().collect();
    Path::new(root).join(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_its_root() {
        for (path, expected) in [
            ("/a/b", "/r/a/b"),
            ("a", "/r/a"),
            ("/", "/r/"),
            ("/../../etc/passwd", "/r/etc/passwd"),
            ("/a/../../b/./c", "/r/b/c"),
            ("..", "/r/"),
        ] {
            assert_eq!(inside("/r", Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
