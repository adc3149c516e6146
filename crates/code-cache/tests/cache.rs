//! The cache with a real engine and real components.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use code_cache::{Cache, OpenError, Origin};
use engine::{Engine, Options};
use tempfile::TempDir;
use test_components::{World, guest};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    Engine::new(&Options {
        instances: 16,
        ..Options::default()
    })
    .unwrap()
});

struct Folder {
    parent: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self {
            parent: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.parent.path().join("compiled")
    }

    fn cache(&self) -> Cache {
        Cache::open(self.path()).unwrap()
    }

    /// The one entry.
    fn entry(&self) -> PathBuf {
        let entries: Vec<_> = fs::read_dir(self.path()).unwrap().collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].as_ref().unwrap().path()
    }
}

#[track_caller]
fn load(cache: &Cache, component: &Path) -> Origin {
    cache.load(&ENGINE, component).unwrap().origin
}

#[test]
fn what_was_compiled_once_is_found_again_for_both_worlds() {
    let folder = Folder::new();
    for world in [World::Wasi02, World::Wasi03] {
        let hello = world.guest("hello");
        assert_eq!(load(&folder.cache(), &hello), Origin::Compiler);
        assert_eq!(load(&folder.cache(), &hello), Origin::Cache);
    }
}

#[test]
fn the_content_counts_and_not_the_path() {
    let folder = Folder::new();
    let cache = folder.cache();
    let path = folder.parent.path().join("a.wasm");
    fs::copy(guest("hello"), &path).unwrap();
    assert_eq!(load(&cache, &path), Origin::Compiler);
    assert_eq!(load(&cache, &guest("hello")), Origin::Cache);
    fs::copy(guest("trap"), &path).unwrap();
    assert_eq!(load(&cache, &path), Origin::Compiler);
}

#[test]
fn an_entry_damaged_anywhere_is_compiled_again() {
    let folder = Folder::new();
    let cache = folder.cache();
    let hello = guest("hello");
    assert_eq!(load(&cache, &hello), Origin::Compiler);
    let whole = fs::read(folder.entry()).unwrap();
    let mut damaged = Vec::new();
    for at in [
        0,
        1,
        64,
        whole.len() / 2,
        whole.len() - 41,
        whole.len() - 40,
        whole.len() - 1,
    ] {
        let mut one = whole.clone();
        one[at] ^= 1;
        damaged.push((format!("a bit of byte {at}"), one));
    }
    for length in [0, 1, 39, 40, 41, whole.len() / 2, whole.len() - 1] {
        damaged.push((format!("cut off at {length}"), whole[..length].to_vec()));
    }
    damaged.push((
        "zeroes at the end".into(),
        [&whole[..], &[0; 4096]].concat(),
    ));
    damaged.push(("nothing but zeroes".into(), vec![0; whole.len()]));
    for (what, bytes) in damaged {
        fs::write(folder.entry(), bytes).unwrap();
        assert_eq!(load(&cache, &hello), Origin::Compiler, "{what}");
        // And it is whole again.
        assert_eq!(fs::read(folder.entry()).unwrap(), whole, "{what}");
        assert_eq!(load(&cache, &hello), Origin::Cache, "{what}");
    }
}

#[test]
fn an_entry_with_the_name_of_another_is_not_used() {
    let folder = Folder::new();
    let cache = folder.cache();
    assert_eq!(load(&cache, &guest("trap")), Origin::Compiler);
    let trap = folder.entry();
    assert_eq!(load(&cache, &guest("hello")), Origin::Compiler);
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let hello = paths.find(|path| *path != trap).unwrap();
    fs::copy(&trap, &hello).unwrap();
    assert_eq!(load(&cache, &guest("hello")), Origin::Compiler);
}

#[test]
fn what_others_could_have_written_is_not_used() {
    let folder = Folder::new();
    let hello = guest("hello");
    assert_eq!(load(&folder.cache(), &hello), Origin::Compiler);

    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    set(&folder.entry(), 0o620);
    assert_eq!(load(&folder.cache(), &hello), Origin::Compiler);
    assert_eq!(load(&folder.cache(), &hello), Origin::Cache);

    set(&folder.path(), 0o755);
    let error = Cache::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("mode 0755"), "{error}");
    assert!(matches!(error, OpenError::NotPrivate { .. }));
    set(&folder.path(), 0o700);

    let link = folder.parent.path().join("link");
    symlink(folder.path(), &link).unwrap();
    let error = Cache::open(link).unwrap_err().to_string();
    assert!(
        error.contains("a symbolic link, expected a folder"),
        "{error}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Cache::open(file.path()).unwrap_err().to_string();
    assert!(error.contains("a file, expected a folder"), "{error}");
}

#[test]
fn what_is_no_entry_does_no_harm() {
    let folder = Folder::new();
    let cache = folder.cache();
    let hello = guest("hello");
    assert_eq!(load(&cache, &hello), Origin::Compiler);
    let entry = folder.entry();
    fs::remove_file(&entry).unwrap();
    symlink("/dev/zero", &entry).unwrap();
    assert_eq!(load(&cache, &hello), Origin::Compiler);
    fs::remove_file(&entry).unwrap();
    fs::create_dir(&entry).unwrap();
    let loaded = cache.load(&ENGINE, &hello).unwrap();
    assert_eq!(loaded.origin, Origin::Compiler);
    assert!(loaded.not_kept.is_some());
}

#[test]
fn a_missing_folder_is_created_again() {
    let folder = Folder::new();
    let cache = folder.cache();
    fs::remove_dir(folder.path()).unwrap();
    assert_eq!(load(&cache, &guest("hello")), Origin::Compiler);
    assert_eq!(load(&cache, &guest("hello")), Origin::Cache);
}

#[test]
fn many_at_a_time_do_not_disturb_each_other() {
    let folder = Folder::new();
    let hello = guest("hello");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cache = folder.cache();
                for _ in 0..3 {
                    load(&cache, &hello);
                }
                assert_eq!(load(&cache, &hello), Origin::Cache);
            });
        }
    });
    folder.entry();
}
