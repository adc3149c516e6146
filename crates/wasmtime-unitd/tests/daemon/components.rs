//! A component that does not load refuses the change with its reason, and what was served before
//! is served on.

use std::fs;
use std::path::Path;

use test_suite::{Running, configuration};

use crate::support::Daemon;

/// Puts `content` as a component's file, and expects an answer with all these words.
#[track_caller]
fn assert_refused(content: &[u8], words: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broken.wasm");
    fs::write(&file, content).unwrap();
    assert_path_refused(&file, words);
}

#[track_caller]
fn assert_path_refused(file: &Path, words: &[&str]) {
    let mut server = Running::guests(&Daemon, &["hello"]);
    let before = server.get("/config");
    let (status, answer) = server.put("/config", &configuration::component("broken", file));
    assert_eq!(status, 500, "{answer}");
    assert!(
        answer.contains("Failed to apply new configuration."),
        "{answer}"
    );
    assert!(
        answer.contains("/applications/broken/component"),
        "{answer}"
    );
    let name = file.file_name().unwrap().to_string_lossy();
    for word in words.iter().copied().chain([&*name]) {
        assert!(answer.contains(word), "{word:?} in {answer}");
    }
    assert_eq!(server.get("/config"), before);
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
}

fn encoded(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn a_missing_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    assert_path_refused(&directory.path().join("gone.wasm"), &["cannot be read"]);
}

#[test]
fn a_directory_is_refused_as_a_component() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("folder.wasm");
    fs::create_dir(&folder).unwrap();
    assert_path_refused(&folder, &["is not a regular file"]);
}

#[test]
fn an_empty_file_is_refused_as_a_component() {
    assert_refused(b"", &["is empty"]);
}

#[test]
fn a_truncated_component_is_refused() {
    let whole = fs::read(test_components::guest("hello")).unwrap();
    for length in [4, 9, 100, whole.len() / 2, whole.len() - 1] {
        assert_refused(&whole[..length], &["is not a"]);
    }
}

#[test]
fn a_component_with_a_broken_byte_never_ends_the_daemon() {
    let whole = fs::read(test_components::guest("hello")).unwrap();
    let mut server = Running::guests(&Daemon, &["hello"]);
    let file = server.directory().join("broken.wasm");
    let configuration = configuration::component("broken", &file);
    for position in (8..whole.len()).step_by(whole.len() / 10) {
        let mut broken = whole.clone();
        broken[position] ^= 0xff;
        fs::write(&file, &broken).unwrap();
        // Not every byte matters.
        let (status, answer) = server.put("/config", &configuration);
        assert!(matches!(status, 200 | 500), "{answer}");
    }
    assert!(server.is_alive());
}

#[test]
fn other_kinds_of_files_are_refused_by_their_kind() {
    assert_refused(b"hello\n", &["is not a WebAssembly component"]);
    assert_refused(b"(component)", &["is WebAssembly text"]);
    assert_refused(b"\x7fELF\x02\x01\x01", &["is an ELF file"]);
}

#[test]
fn a_core_module_is_refused_with_the_command_that_converts_it() {
    let module = test_components::example_core_module();
    let command = format!("wasm-tools component new {}", module.display());
    assert_path_refused(&module, &["is a core module", &command]);
}

#[test]
fn a_component_without_an_http_world_is_refused() {
    assert_refused(
        &encoded("(component)"),
        &["exports neither wasi:http/incoming-handler@0.2"],
    );
}

#[test]
fn an_unknown_import_is_refused_by_name() {
    // By its exports it is a proxy.
    let text = r#"(component
        (import "example:custom/host" (instance (export "act" (func))))
        (core module $module (func (export "handle")))
        (core instance $core (instantiate $module))
        (func $handle (canon lift (core func $core "handle")))
        (instance $handler (export "handle" (func $handle)))
        (export "wasi:http/incoming-handler@0.2.0" (instance $handler))
    )"#;
    assert_refused(&encoded(text), &["example:custom/host"]);
}

#[test]
fn a_component_whose_initial_memory_exceeds_the_limit_is_refused() {
    let mut server = Running::idle(&Daemon);
    let limited = |memory: u32| {
        let limits = format!(r#""limits": {{"memory": {memory}}}"#);
        configuration::guests_with(&[("hello", &limits)])
    };
    let (status, answer) = server.put("/config", &limited(65_536));
    assert_eq!(status, 500, "{answer}");
    assert!(
        answer.contains("bytes of memory from the start"),
        "{answer}"
    );
    assert!(answer.contains("/applications/hello/component"), "{answer}");
    let (status, answer) = server.put("/config", &limited(2 << 20));
    assert_eq!(status, 200, "{answer}");
}
