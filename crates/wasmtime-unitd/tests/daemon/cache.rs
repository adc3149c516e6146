//! Compiled components on disk.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use test_suite::{DEADLINE, Running, configuration, until};

use crate::support::{Daemon, Unprivileged, can_become_another_user, run};

const CACHED: &str = "hello.wasm\" loaded from the cache in ";
const COMPILED: &str = "hello.wasm\" compiled in ";

fn folder(server: &Running) -> PathBuf {
    server.directory().join("state/compiled")
}

fn greets(server: &Running) {
    let answer = server.connect("hello").get("/");
    answer.assert_text("Hello, world!\n");
}

#[test]
fn a_restarted_server_loads_components_from_the_cache() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    server.wait_for_log(COMPILED);
    let mode = fs::metadata(folder(&server)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    server.signal(Signal::SIGKILL);
    server.wait(DEADLINE);
    server.start_again(&Daemon);
    server.wait_for_log(CACHED);
    greets(&server);
    // Nor does an application that is restarted, or a second one of the same component.
    let (status, answer) = server.control("GET", "/control/applications/hello/restart", "");
    assert_eq!(status, 200, "{answer}");
    server.wait_for_log("restarted: component loaded again");
    assert_eq!(server.log_lines(CACHED).len(), 2);
    assert_eq!(server.log_lines(COMPILED).len(), 1);
    greets(&server);
}

#[test]
fn a_damaged_cache_entry_is_compiled_again() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    assert_eq!(server.stop().code(), Some(0));
    for entry in fs::read_dir(folder(&server)).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    server.start_again(&Daemon);
    server.wait_for_log("not used: damaged");
    greets(&server);
}

#[test]
fn a_cache_that_other_users_can_write_to_is_not_used() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    assert_eq!(server.stop().code(), Some(0));
    fs::set_permissions(folder(&server), Permissions::from_mode(0o770)).unwrap();
    server.start_again(&Daemon);
    let line = server.wait_for_log("cannot use the cache of compiled components: ");
    assert!(
        line.contains("accessible for other users (mode 0770)"),
        "{line}"
    );
    greets(&server);
    until("the component is compiled again", || {
        server.log_lines(COMPILED).len() == 2
    });
    assert_eq!(server.log_lines(CACHED), [""; 0]);
}

#[test]
fn compiled_components_are_loaded_after_root_privileges_are_dropped() {
    if !can_become_another_user() {
        return;
    }
    let mut server = Running::guests(&Daemon, &["hello"]);
    server.wait_for_log(COMPILED);
    assert_eq!(server.stop().code(), Some(0));
    // The way to the state is for root only, which made it.
    let permissions = || Permissions::from_mode(0o755);
    fs::set_permissions(server.directory(), permissions()).unwrap();
    server.start_again(&Unprivileged);
    // To root, whose folder it is, that would have been a cache as good as any.
    let line = server.wait_for_log("cannot use the cache of compiled components: ");
    assert!(line.contains("state/compiled"), "{line}");
    greets(&server);
    until("the component is compiled again", || {
        server.log_lines(COMPILED).len() == 2
    });
    assert_eq!(server.log_lines(CACHED), [""; 0]);
    assert_eq!(server.stop().code(), Some(0));
    // And it is: nothing else than the user keeps it from being used.
    server.start_again(&Daemon);
    server.wait_for_log(CACHED);
}

#[test]
fn compile_fills_the_cache_of_a_later_server() {
    let parent = tempfile::tempdir().unwrap();
    let cache = parent.path().join("compiled");
    let hello = test_components::guest("hello");
    let arguments = ["compile".as_ref(), "--cachedir".as_ref(), cache.as_os_str()];
    let compile = |component: &PathBuf| run(arguments.into_iter().chain([component.as_os_str()]));

    let first = compile(&hello);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(
        first.output.contains("hello.wasm: compiled in "),
        "{first:?}"
    );
    let second = compile(&hello);
    assert!(second.output.contains("already in the cache"), "{second:?}");

    // What cannot be written is no success.
    let entry = fs::read_dir(&cache).unwrap().next().unwrap().unwrap();
    fs::remove_file(entry.path()).unwrap();
    fs::create_dir(entry.path()).unwrap();
    compile(&hello).assert_refused("hello.wasm: compiled, but not written to the cache: ");

    let module = test_components::example_core_module();
    compile(&module).assert_refused("is a core module where a component is expected");
    let missing = parent.path().join("missing.wasm");
    compile(&missing).assert_refused("missing.wasm: cannot be read");
    fs::set_permissions(&cache, Permissions::from_mode(0o711)).unwrap();
    compile(&hello).assert_refused("accessible for other users");
}

#[test]
fn components_of_one_change_are_loaded_in_parallel_and_the_log_has_the_progress() {
    let mut server = Running::guests(&Daemon, &["hello", "trap", "echo"]);
    for number in ["1 of 3", "2 of 3", "3 of 3"] {
        server.wait_for_log(&format!("({number})"));
    }
    // What is there already is not loaded again.
    let (status, answer) = server.put(
        "/config",
        &configuration::guests(&["hello", "trap", "echo", "count"]),
    );
    assert_eq!(status, 200, "{answer}");
    server.wait_for_log("(1 of 1)");
}
