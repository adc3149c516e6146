//! `--no-compile`: components are loaded from the cache only, also where no memory that was written may become
//! executable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use test_suite::{FrontEnd, Running, World, configuration};

use crate::support::{Daemon, run};

/// The daemon with `--no-compile`.
struct NoCompile;

impl FrontEnd for NoCompile {
    fn command(&self, directory: &Path) -> Command {
        let mut command = Daemon.command(directory);
        command.arg("--no-compile");
        command
    }
}

/// Fills the cache in this state directory.
fn compile(state: &Path, component: &Path) {
    let arguments = ["compile".as_ref(), "--statedir".as_ref(), state.as_os_str()];
    let ended = run(arguments.into_iter().chain([component.as_os_str()]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

fn state(server: &Running) -> PathBuf {
    server.directory().join("state")
}

/// What names the component and the command that compiles it.
fn assert_hint(text: &str) {
    let text = text.replace('\\', "");
    assert!(
        text.contains("hello.wasm: not in the cache of compiled components"),
        "{text}"
    );
    let command = "run as the server's user: wasmtime-unitd compile --cachedir \"";
    assert!(text.contains(command), "{text}");
    assert!(text.contains("state/compiled\" \""), "{text}");
}

#[test]
fn a_component_that_is_not_compiled_fails_the_change_until_it_is() {
    let mut server = Running::idle(&NoCompile);
    let hello = configuration::guests(&["hello"]);
    let (status, answer) = server.put("/config", &hello);
    assert_eq!(status, 500, "{answer}");
    assert_hint(&answer);
    compile(&state(&server), &test_components::guest("hello"));
    let (status, answer) = server.put("/config", &hello);
    assert_eq!(status, 200, "{answer}");
    server.wait_for_log("hello.wasm\" loaded from the cache in ");
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
    // Nor does a restart compile it, and what it had stays in use.
    let entry = fs::read_dir(state(&server).join("compiled")).unwrap();
    let entry = entry.map(|entry| entry.unwrap().path()).next().unwrap();
    let mut bytes = fs::read(&entry).unwrap();
    bytes[100] ^= 1;
    fs::remove_file(&entry).unwrap();
    fs::write(&entry, bytes).unwrap();
    fs::set_permissions(&entry, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for expected in ["not used: damaged", "not in the cache"] {
        let (status, answer) = server.control("GET", "/control/applications/hello/restart", "");
        assert_eq!(status, 500, "{answer}");
        assert!(answer.contains(expected), "{answer}");
    }
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
    assert_eq!(server.log_lines("compiled in"), [""; 0]);
}

#[test]
fn a_component_that_is_not_compiled_at_the_start_leaves_the_others_served() {
    let mut server = Running::guests(&Daemon, &["hello", "early"]);
    assert_eq!(server.stop().code(), Some(0));
    fs::remove_dir_all(state(&server).join("compiled")).unwrap();
    compile(&state(&server), &test_components::guest("early"));
    server.start_again(&NoCompile);
    server.connect("early").get("/").assert_text("early\n");
    server.connect("hello").get("/").assert_page(503);
    assert_hint(&server.wait_for_log("application \"hello\""));
    compile(&state(&server), &test_components::guest("hello"));
    let (status, answer) = server.control("GET", "/control/applications/hello/restart", "");
    assert_eq!(status, 200, "{answer}");
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
}

#[test]
fn serve_needs_a_cache_that_has_the_component() {
    let hello = test_components::guest("hello");
    let serve = ["serve".as_ref(), "--no-compile".as_ref(), hello.as_os_str()];
    run(serve).assert_refused("--no-compile needs --cachedir");
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("compiled");
    let cached = ["--cachedir".as_ref(), cache.as_os_str()];
    run(serve.into_iter().chain(cached)).assert_refused("not in the cache");
}

/// A front end's command, run by a process that may not make memory executable, which the daemon inherits: as by
/// `MemoryDenyWriteExecute` of systemd.
struct DenyWriteExecute<F>(F);

/// `prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN)`. There is no tool for it that all machines have, and Rust would need
/// unsafe code.
const DENY: &str = r#"syscall(shift, 65, 1, 0, 0, 0) == 0 or exit 42; @ARGV or exit; exec @ARGV"#;

#[cfg(target_arch = "x86_64")]
const PRCTL: &str = "157";
#[cfg(not(target_arch = "x86_64"))]
const PRCTL: &str = "167";

impl<F: FrontEnd> FrontEnd for DenyWriteExecute<F> {
    fn command(&self, directory: &Path) -> Command {
        let inner = self.0.command(directory);
        let mut command = Command::new("perl");
        command.args(["-e", DENY, PRCTL]).arg(inner.get_program());
        command.args(inner.get_args());
        command
    }
}

/// Whether memory can be denied on this machine; says so if it cannot.
fn can_deny() -> bool {
    let denied = Command::new("perl").args(["-e", DENY, PRCTL]).status();
    let reason = match denied {
        Ok(status) if status.success() => return true,
        Ok(_) => "this kernel has no PR_SET_MDWE (Linux 6.3)",
        Err(_) => "no perl on this machine (on Debian: apt-get install perl-base)",
    };
    eprintln!("skipped: {reason}");
    false
}

#[test]
fn no_memory_that_was_written_has_to_become_executable() {
    if !can_deny() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let guests = [
        ("hello", World::Wasi02.guest("hello")),
        ("concurrent", World::Wasi03.guest("hello")),
        ("trap", World::Wasi02.guest("trap")),
        ("recurse", World::Wasi02.guest("recurse")),
    ];
    for (_, guest) in &guests {
        compile(&state, guest);
    }
    let command = DenyWriteExecute(NoCompile).command(directory.path());
    let mut server = Running::launch(command, directory);
    let applications = guests
        .each_ref()
        .map(|(name, guest)| (*name, configuration::application(guest, "")));
    let (status, answer) = server.put("/config", &configuration::applications_of(&applications));
    assert_eq!(status, 200, "{answer}");
    for round in 0..3 {
        for name in ["hello", "concurrent"] {
            let answer = server.connect(name).get("/");
            answer.assert_text("Hello, world!\n");
        }
        for name in ["trap", "recurse"] {
            server.connect(name).get("/").assert_page(500);
        }
        if round == 1 {
            // Unmapped, and mapped again.
            let (status, answer) = server.control("GET", "/control/applications/hello/restart", "");
            assert_eq!(status, 200, "{answer}");
        }
    }
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap();
    let mode = |line: &&str| line.split(' ').nth(1).is_some_and(|it| it.contains('x'));
    let code = maps.lines().filter(mode);
    let mut entries = 0;
    // Those with brackets are the kernel's.
    for line in code.filter(|line| !line.ends_with(']')) {
        assert!(line.contains(" r-xp "), "{line}");
        // A file, not anonymous memory or a memory file.
        assert!(line.contains(" /") && !line.contains("memfd"), "{line}");
        entries += usize::from(line.contains("/state/compiled/"));
    }
    assert_eq!(entries, guests.len(), "{maps}");
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_server_that_compiles_cannot_do_without_executable_memory() {
    if !can_deny() {
        return;
    }
    let mut server = Running::idle(&DenyWriteExecute(Daemon));
    compile(&state(&server), &test_components::guest("hello"));
    let (status, answer) = server.put("/config", &configuration::guests(&["hello"]));
    assert_eq!(status, 500, "{answer}");
    assert!(answer.contains("memory executable"), "{answer}");
    // The entry is not at fault, and stays.
    let line = server.wait_for_log("not used: ");
    assert!(!line.contains("removed"), "{line}");
    let entries = fs::read_dir(state(&server).join("compiled")).unwrap();
    assert_eq!(entries.count(), 1);
}
