//! The corpus: every text that these tests check, in one folder, for tests that need all of them.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

/// The folder to which texts are written, if there is one.
const FOLDER: &str = "RECORD_CONFIGURATIONS";

/// Adds a text to the corpus.
pub(super) fn record(text: &str) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let file = format!("config-{}-{number}.json", std::process::id());
    fs::write(Path::new(&folder).join(file), text).unwrap();
}

/// All texts of these tests, which run once more in a process of their own, since only then it is known that all have
/// run.
pub(super) fn texts() -> Vec<String> {
    let folder = env::temp_dir().join(format!("configurations-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let tests = Command::new(env::current_exe().unwrap())
        .args(["check::tests::", "--skip", "check::tests::json_schema::"])
        .env(FOLDER, &folder)
        .output()
        .unwrap();
    assert!(tests.status.success(), "the other tests fail: {tests:?}");
    let texts = read(&folder);
    fs::remove_dir_all(&folder).unwrap();
    texts
}

/// The texts of a folder, each once, in an order that is always the same.
pub(super) fn read(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let mut texts: Vec<_> = texts.collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}
