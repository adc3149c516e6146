use std::fs;
use std::io;
use std::path::PathBuf;

use config::{ConfigError, Folder, Value};
use engine::{Access, Directory};

/// The folders of `access.filesystem`, whose elements unitd does not look at.
///
/// # Errors
///
/// When an element is no folder, with its place in the array.
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

/// A folder that this process cannot use as one.
#[derive(Debug, thiserror::Error)]
#[error("the folder {} cannot be used: {error}", path.display())]
pub struct FolderError {
    path: PathBuf,
    error: io::Error,
}

/// Looks whether all of them are folders that this process may look into.
///
/// # Errors
///
/// The first that is not.
pub fn look_into(directories: &[Directory]) -> Result<(), FolderError> {
    for Directory { host, .. } in directories {
        // The dot is what asks for a folder, and for the right to go into it.
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
    fn what_is_no_folder_is_told_with_its_place() {
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
    fn folders_have_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let directory = |host: PathBuf| Directory {
            host,
            guest: "/data".to_owned(),
            access: Access::ReadOnly,
        };
        let here = directory(folder.path().to_owned());
        look_into(std::slice::from_ref(&here)).unwrap();
        for (path, why) in [
            (file, "Not a directory"),
            (folder.path().join("gone"), "No such file"),
        ] {
            let name = path.display().to_string();
            let error = look_into(&[here.clone(), directory(path)]).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(&name) && message.contains(why),
                "{message}"
            );
        }
    }
}
