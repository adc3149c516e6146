//! `access.filesystem` under Unit: read as the daemon reads it, since unitd does not check its elements.

use std::fs;
use std::io;
use std::path::PathBuf;

use config::{ConfigError, Folder, Value};
use engine::{Access, Directory};

/// The folders of `access.filesystem`.
///
/// # Errors
///
/// When an element does not describe a folder, with its path in the array.
pub fn directories(filesystem: &Value) -> Result<Vec<Directory>, ConfigError> {
    let folders = Folder::check_all(filesystem)?;
    let directory = |folder: Folder| Directory {
        host: folder.path,
        guest: folder.name,
        access: if folder.read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        },
    };
    Ok(folders.into_iter().map(directory).collect())
}

/// A folder that does not exist, is not a folder, or that this process may not enter.
#[derive(Debug, thiserror::Error)]
#[error("the folder {} cannot be used: {error}", path.display())]
pub struct FolderError {
    path: PathBuf,
    error: io::Error,
}

/// Checks that this process may enter all of the folders.
///
/// # Errors
///
/// For the first that it may not.
pub fn check_access(directories: &[Directory]) -> Result<(), FolderError> {
    for Directory { host, .. } in directories {
        // With the dot, `stat` fails for files, and for folders without the right to search them.
        fs::metadata(host.join(".")).map_err(|error| FolderError {
            path: host.clone(),
            error,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Directory>, ConfigError> {
        directories(&config::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn strings_and_objects_are_folders() {
        let found = read(r#"["/srv", {"path": "/var/www", "as": "/www", "read_only": true}]"#);
        let directory = |host: &str, guest: &str, access| Directory {
            host: host.into(),
            guest: guest.to_owned(),
            access,
        };
        let expected = [
            directory("/srv", "/srv", Access::ReadWrite),
            directory("/var/www", "/www", Access::ReadOnly),
        ];
        assert_eq!(found.unwrap(), expected);
        assert_eq!(read("[]").unwrap(), []);
    }

    #[test]
    fn an_invalid_folder_is_refused_with_its_path() {
        for (text, place) in [
            (r#"["/srv", "srv"]"#, "/1"),
            (r#"["/srv", 1]"#, "/1"),
            (r#"[{"path": "/srv", "as": "/a/../b"}]"#, "/0/as"),
            (r#"["/srv", "/srv"]"#, "/1"),
        ] {
            assert_eq!(read(text).unwrap_err().path.to_string(), place, "{text}");
        }
    }

    #[test]
    fn folders_have_to_exist() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let directory = |host: PathBuf| Directory {
            host,
            guest: "/data".to_owned(),
            access: Access::ReadOnly,
        };
        let here = directory(folder.path().to_owned());
        check_access(std::slice::from_ref(&here)).unwrap();
        for (path, why) in [
            (file, "Not a directory"),
            (folder.path().join("gone"), "No such file"),
        ] {
            let name = path.display().to_string();
            let error = check_access(&[here.clone(), directory(path)]).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(&name) && message.contains(why),
                "{message}"
            );
        }
    }
}
