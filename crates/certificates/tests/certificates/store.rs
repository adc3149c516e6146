//! The store: files on disk, crashes, damage and concurrent changes.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use certificates::{
    BundleErrorKind, Certificates, DamageKind, Damaged, PutError, RemoveError, Store, StoreError,
};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::bundle;

fn open(folder: &Path) -> Store {
    let (store, damaged) = Store::open(folder).unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    store
}

fn names(certificates: &Certificates) -> Vec<String> {
    let names = certificates.iter();
    names.map(|(name, _)| name.to_owned()).collect()
}

fn common_name(store: &Store, name: &str) -> String {
    let bundle = store.snapshot().get(name).cloned().unwrap();
    bundle.chain()[0].subject.common_name.clone().unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_bundle_is_stored_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("state/certs");
    let store = open(&folder);
    assert!(store.snapshot().is_empty());
    let text = bundle("a", &[]);
    store.put("second", text.as_bytes()).unwrap();
    store
        .put("first.example.com", bundle("b", &[]).as_bytes())
        .unwrap();
    let wanted = ["first.example.com", "second"];
    assert_eq!(names(&store.snapshot()), wanted);
    // What Unit would find here, too.
    assert_eq!(files(&folder), wanted);
    assert_eq!(fs::read_to_string(folder.join("second")).unwrap(), text);
    drop(store);
    let store = open(&folder);
    assert_eq!(names(&store.snapshot()), wanted);
    assert_eq!(common_name(&store, "second"), "a");
}

#[test]
fn only_the_owner_can_read_keys() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("certs");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let store = open(&folder);
    store.put("a", bundle("a", &[]).as_bytes()).unwrap();
    assert_eq!((mode(&folder), mode(&folder.join("a"))), (0o700, 0o600));
    assert_eq!(store.paths(), [folder.clone(), folder.join("a")]);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    drop(open(&folder));
    assert_eq!(mode(&folder), 0o700);
}

#[test]
fn put_refuses_a_used_name_and_replace_accepts_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put("a", bundle("old", &[]).as_bytes()).unwrap();
    // The name is checked before the text, as in Unit.
    assert!(matches!(store.put("a", b""), Err(PutError::Exists)));
    assert!(matches!(store.put("../a", b""), Err(PutError::Name(_))));
    let before = store.snapshot();
    store.replace("a", bundle("new", &[]).as_bytes()).unwrap();
    store.replace("b", bundle("b", &[]).as_bytes()).unwrap();
    assert_eq!(common_name(&store, "a"), "new");
    assert_eq!(common_name(&open(folder.path()), "a"), "new");
    // An old snapshot is not changed.
    assert_eq!(names(&before), ["a"]);
    assert_eq!(
        before.get("a").unwrap().chain()[0]
            .subject
            .common_name
            .as_deref(),
        Some("old")
    );
}

#[test]
fn a_refused_bundle_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put("a", bundle("old", &[]).as_bytes()).unwrap();
    let error = store.replace("a", b"garbage").unwrap_err();
    assert_eq!(error.to_string(), "there is no private key");
    assert!(matches!(store.replace("", b""), Err(PutError::Name(_))));
    assert!(matches!(store.put("b", b""), Err(PutError::Bundle(_))));
    assert_eq!(common_name(&store, "a"), "old");
    assert_eq!(files(folder.path()), ["a"]);
}

#[test]
fn a_removed_bundle_is_gone_from_memory_and_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for name in ["a", "b", "c"] {
        store.put(name, bundle(name, &[]).as_bytes()).unwrap();
    }
    store.remove("a").unwrap();
    assert!(matches!(store.remove("a"), Err(RemoveError::Missing)));
    for name in ["", ".", "..", "../certs", "x", "A"] {
        assert!(
            matches!(store.remove(name), Err(RemoveError::Missing)),
            "{name}"
        );
    }
    // Another process has removed the file.
    fs::remove_file(folder.path().join("b")).unwrap();
    store.remove("b").unwrap();
    assert_eq!(names(&store.snapshot()), ["c"]);
    assert_eq!(files(folder.path()), ["c"]);
}

#[test]
fn a_disk_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("certs");
    let store = open(&folder);
    store.put("a", bundle("old", &[]).as_bytes()).unwrap();
    fs::rename(&folder, folder.with_extension("away")).unwrap();
    let error = store
        .replace("a", bundle("new", &[]).as_bytes())
        .unwrap_err();
    assert!(matches!(error, PutError::Io(_)), "{error}");
    assert!(matches!(
        store.put("b", bundle("b", &[]).as_bytes()),
        Err(PutError::Io(_))
    ));
    assert_eq!(names(&store.snapshot()), ["a"]);
    assert_eq!(common_name(&store, "a"), "old");
}

#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new_bundle() {
    use atomic_file::{AtomicFile, Step};
    for crash in Step::ALL {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path())
            .put("a", bundle("old", &[]).as_bytes())
            .unwrap();
        let file = AtomicFile::new(folder.path(), "a", ".a.tmp");
        let _ = file.write_in_steps(bundle("new", &[]).as_bytes(), &mut |step| {
            if step == crash {
                Err(std::io::Error::other("crash"))
            } else {
                Ok(())
            }
        });
        let wanted = if crash == Step::SyncFolder {
            "new"
        } else {
            "old"
        };
        assert_eq!(common_name(&open(folder.path()), "a"), wanted, "{crash:?}");
        assert_eq!(files(folder.path()), ["a"], "{crash:?}");
    }
}

#[test]
fn damaged_files_are_reported_and_do_not_affect_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = bundle("good", &[]);
    fs::write(path("good"), &text).unwrap();
    fs::write(path("outside"), &text).unwrap();
    fs::write(path("truncated"), &text[..text.len() / 2]).unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("zeros"), [0; 4096]).unwrap();
    fs::write(path("huge"), "a".repeat(certificates::Bundle::MAX_TEXT * 2)).unwrap();
    fs::write(path("new\nline"), &text).unwrap();
    fs::write(path(".hidden"), "another program's").unwrap();
    fs::write(path(".truncated.tmp"), "half").unwrap();
    fs::create_dir(path("folder")).unwrap();
    symlink(path("outside"), path("link")).unwrap();
    symlink("/nowhere", path("dangling")).unwrap();
    mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
    let name = std::os::unix::ffi::OsStrExt::from_bytes(b"not\xfftext");
    fs::write(folder.path().join::<&std::ffi::OsStr>(name), &text).unwrap();

    let (store, damaged) = Store::open(folder.path()).unwrap();
    assert_eq!(names(&store.snapshot()), ["good", "outside"]);
    let found: Vec<_> = damaged
        .iter()
        .map(|damaged| damaged.name.as_str())
        .collect();
    let wanted = [
        "dangling",
        "empty",
        "folder",
        "huge",
        "link",
        "new\\nline",
        "not\u{fffd}text",
        "pipe",
        "truncated",
        "zeros",
    ];
    assert_eq!(found, wanted);
    for Damaged { name, kind } in &damaged {
        let right = match name.as_str() {
            "dangling" | "folder" | "link" | "pipe" => matches!(kind, DamageKind::NoFile),
            "huge" => {
                matches!(kind, DamageKind::Bundle(error) if error.kind == BundleErrorKind::TooLarge)
            }
            "new\\nline" => matches!(kind, DamageKind::Name(_)),
            "not\u{fffd}text" => matches!(kind, DamageKind::NotText),
            _ => matches!(kind, DamageKind::Bundle(_)),
        };
        assert!(right, "{name}: {kind}");
    }
    assert!(path(".hidden").exists() && !path(".truncated.tmp").exists());

    // Putting or removing a bundle of the name replaces or removes the damaged file.
    store.put("truncated", text.as_bytes()).unwrap();
    store.put("link", bundle("new", &[]).as_bytes()).unwrap();
    assert_eq!(fs::read_to_string(path("outside")).unwrap(), text);
    assert!(!path("link").is_symlink());
    store.remove("empty").unwrap();
    store.remove("dangling").unwrap();
    assert!(matches!(store.remove("folder"), Err(RemoveError::Io(_))));
    assert!(matches!(
        store.put("folder", text.as_bytes()),
        Err(PutError::Io(_))
    ));
    let (store, damaged) = Store::open(folder.path()).unwrap();
    assert_eq!(
        names(&store.snapshot()),
        ["good", "link", "outside", "truncated"]
    );
    assert_eq!(damaged.len(), 6);
}

#[test]
fn a_store_is_refused_in_a_symlink_or_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "").unwrap();
    assert!(matches!(Store::open(path("file")), Err(StoreError::Io(_))));
    assert!(matches!(
        Store::open(path("file/certs")),
        Err(StoreError::Io(_))
    ));
    fs::create_dir(path("elsewhere")).unwrap();
    symlink(path("elsewhere"), path("link")).unwrap();
    let error = Store::open(path("link")).unwrap_err();
    assert!(matches!(error, StoreError::NoFolder(_)), "{error}");
}

#[test]
fn changes_from_many_threads_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..5 {
                    let name = format!("{thread}-{number}");
                    store.put(&name, bundle(&name, &[]).as_bytes()).unwrap();
                }
            });
        }
    });
    assert_eq!(store.snapshot().len(), 20);
    assert_eq!(open(folder.path()).snapshot().len(), 20);
}
