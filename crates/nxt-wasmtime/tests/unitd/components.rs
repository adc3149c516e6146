//! Components that have changed, and components that do not load.

use std::fs;
use std::path::Path;

use test_suite::{Running, configuration, until};

use crate::support::{Unitd, assert_no_alert};

const HELLO: &str = "Hello, world!\n";

#[test]
fn a_restart_reloads_the_component() {
    let Some(unitd) = Unitd::here() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("component.wasm");
    fs::copy(test_components::guest("hello"), &file).unwrap();
    let server = Running::start(&unitd, &configuration::component("app", &file));
    server.connect("app").get("/").assert_text(HELLO);

    fs::copy(test_components::guest("counter"), &file).unwrap();
    server.connect("app").get("/").assert_text(HELLO);
    let (status, answer) = server.control("GET", "/control/applications/app/restart", "");
    assert_eq!(status, 200, "{answer}");
    until("the new one answers", || {
        let response = server.connect("app").get("/");
        assert_eq!(response.head.status, 200, "{response:?}");
        response.text() == "1\n"
    });
    assert_no_alert(&server);
}

/// Puts this file as a component, and expects that the log has the reason, that what was served is
/// served on, and that the next change is made.
#[track_caller]
fn assert_refused(unitd: Unitd, file: &Path, words: &[&str]) {
    let mut server = Running::guests(&unitd, &["hello"]);
    server.connect("hello").get("/").assert_text(HELLO);
    let (status, answer) = server.put("/config", &configuration::component("broken", file));
    assert_eq!(status, 500, "{answer}");
    assert!(answer.contains("\"error\""), "{answer}");
    let line = server.wait_for_log(&file.display().to_string());
    for word in words {
        assert!(line.contains(word), "{word:?} in {line}");
    }
    server.connect("hello").get("/").assert_text(HELLO);

    let (status, answer) = server.put("/config", &configuration::guests(&["count"]));
    assert_eq!(status, 200, "{answer}");
    server.connect("count").post("/", "abc").assert_text("3\n");
}

#[test]
fn a_component_that_does_not_load_is_logged_and_the_next_one_is_served() {
    let Some(unitd) = Unitd::here() else { return };
    let folder = tempfile::tempdir().unwrap();
    assert_refused(unitd, &folder.path().join("gone.wasm"), &["cannot be read"]);
    let text = folder.path().join("text.wasm");
    fs::write(&text, "hello\n").unwrap();
    assert_refused(unitd, &text, &["is not a WebAssembly component"]);
    let whole = fs::read(test_components::guest("hello")).unwrap();
    let half = folder.path().join("half.wasm");
    fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    assert_refused(unitd, &half, &["is not a"]);
    assert_refused(
        unitd,
        &test_components::example_core_module(),
        &["is a core module", "wasm-tools component new"],
    );
}
