//! `--config`: a configuration from files, which are watched.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use test_suite::{Client, FrontEnd, Running, configuration, within};

use crate::support::{Daemon, Process, can_become_another_user, daemon, run};

/// By when a change of the files is in force. The documentation says a second; a busy machine may take longer.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The daemon with `--config`, and without a state directory.
struct FromFiles;

impl FrontEnd for FromFiles {
    fn command(&self, directory: &Path) -> Command {
        let mut command = daemon();
        command
            .arg("--control")
            .arg(format!("unix:{}", directory.join("control.sock").display()))
            .arg("--statedir")
            .arg("/proc/no-state-directory")
            .arg("--cachedir")
            .arg(directory.join("cache"))
            .arg("--log")
            .arg(directory.join("unit.log"))
            .arg("--config")
            .arg(directory.join("config"))
            .env("TEST_GREETING", "a secret greeting");
        command
    }
}

/// A daemon whose configuration is a folder with this file.
pub(crate) fn start(text: &str) -> Running {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("config")).unwrap();
    fs::write(directory.path().join("config/main.json"), text).unwrap();
    Running::launch(FromFiles.command(directory.path()), directory)
}

pub(crate) fn file(server: &Running, name: &str) -> PathBuf {
    server.directory().join("config").join(name)
}

/// Puts a new version of a file in place, as editors and programs do.
fn replace(server: &Running, name: &str, text: &str) {
    let temporary = server.directory().join("new");
    fs::write(&temporary, text).unwrap();
    fs::rename(temporary, file(server, name)).unwrap();
}

/// What `GET` returns for the problem with the files.
pub(crate) fn problem(server: &Running) -> String {
    server.get("/status/config_files/problem")
}

pub(crate) fn is_served(server: &Running, name: &str, text: &str) -> bool {
    Client::try_connect(server.address(name))
        .is_some_and(|mut client| client.get("/").body == text.as_bytes())
}

#[test]
fn a_folder_is_in_force_and_its_changes_are_taken_up_however_they_are_made() {
    let mut server = start("{}");
    assert_eq!(server.get("/status/config_files/in_force"), "true");
    let hello = server.fill_in(&configuration::guests(&["hello"]));
    // Written in place.
    fs::write(file(&server, "main.json"), &hello).unwrap();
    within(SOON, "the first version is in force", || {
        is_served(&server, "hello", "Hello, world!\n").then_some(())
    });
    // Renamed over, with the same address.
    let other = hello.replace("hello.wasm", "early.wasm");
    assert_ne!(other, hello);
    replace(&server, "main.json", &other);
    within(SOON, "the second version is in force", || {
        is_served(&server, "hello", "early\n").then_some(())
    });
    // Another file, with a section of its own.
    fs::write(
        file(&server, "settings.json"),
        r#"{"settings": {"http": {"max_body_size": 7}}}"#,
    )
    .unwrap();
    within(SOON, "the second file is merged", || {
        (server.get("/config/settings/http/max_body_size") == "7").then_some(())
    });
    fs::remove_file(file(&server, "settings.json")).unwrap();
    within(SOON, "its removal is in force", || {
        (!server.get("/config").contains("max_body_size")).then_some(())
    });
    assert_eq!(problem(&server), "null");
    assert_eq!(server.control("GET", "/status/ready", "").0, 200);
}

#[test]
fn a_file_that_changes_all_the_time_keeps_no_change_of_others_out() {
    let mut server = start("{}");
    let hello = server.fill_in(&configuration::guests(&["hello"]));
    let busy = file(&server, "busy.json");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                fs::write(&busy, "{}").unwrap();
                thread::sleep(Duration::from_millis(100));
            }
        });
        let _over = Over(&is_over);
        replace(&server, "main.json", &hello);
        // They are read half a minute later.
        within(SOON + Duration::from_secs(30), "it is in force", || {
            is_served(&server, "hello", "Hello, world!\n").then_some(())
        });
    });
}

/// Ends other threads, also if a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn an_unknown_section_has_the_place_of_its_own_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.json"), "{\n  \"x\": 1}").unwrap();
    fs::write(directory.path().join("z.json"), r#"{"routes": []}"#).unwrap();
    let ended = run(["check".as_ref(), directory.path()]);
    assert_eq!(ended.code, Some(1));
    let expected = "a.json\", line 2, column 8: Unknown parameter \"x\".";
    assert!(ended.errors.contains(expected), "{ended:?}");
}

#[test]
fn a_broken_version_is_reported_with_its_place_and_the_last_good_one_stays_in_force() {
    let mut server = start("{}");
    let hello = server.fill_in(&configuration::guests(&["hello"]));
    fs::write(file(&server, "main.json"), &hello).unwrap();
    within(SOON, "it is in force", || {
        is_served(&server, "hello", "Hello, world!\n").then_some(())
    });
    let missing = hello.replace("hello.wasm", "missing.wasm");
    for (text, expected) in [
        (String::new(), "main.json\\\", line 1, column 1: "),
        (
            "{\n  \"listeners\": {".to_owned(),
            "main.json\\\", line 2, column ",
        ),
        (
            "{\n  \"listeners\": {\"*:1\": {\"pass\": 1}}}".to_owned(),
            "main.json\\\", line 2, column 33: ",
        ),
        (missing, "missing.wasm"),
        ("\u{0}".to_owned(), "main.json\\\", line 1, column 1: "),
    ] {
        replace(&server, "main.json", &text);
        within(SOON, expected, || {
            problem(&server).contains(expected).then_some(())
        });
        assert_eq!(server.get("/status/config_files/in_force"), "false");
        let (status, answer) = server.control("GET", "/status/ready", "");
        assert!(status == 200 && answer.contains(expected), "{answer}");
        assert!(is_served(&server, "hello", "Hello, world!\n"), "{text}");
        let metrics = server.get("/status/metrics");
        assert!(metrics.contains("wasmtime_unitd_config_files_in_force 0"));
    }
    server.wait_for_log("still serving the last one that could be used");
    // The folder disappears, and comes back.
    let (folder, away) = (file(&server, ""), server.directory().join("away"));
    fs::rename(&folder, &away).unwrap();
    within(SOON, "the missing folder", || {
        problem(&server).contains("cannot read").then_some(())
    });
    assert!(is_served(&server, "hello", "Hello, world!\n"));
    fs::write(away.join("main.json"), &hello).unwrap();
    fs::rename(&away, &folder).unwrap();
    within(SOON, "the folder is there again", || {
        (problem(&server) == "null").then_some(())
    });
    server.wait_for_log("are in force again");
}

#[test]
fn clients_of_the_control_api_cannot_change_what_comes_from_files() {
    let server = start(r#"{"listeners": {}}"#);
    for (method, path) in [
        ("PUT", "/config"),
        ("PUT", "/config/listeners"),
        ("POST", "/config/routes"),
        ("DELETE", "/config"),
        ("PUT", "/certificates/a"),
        ("DELETE", "/certificates/a"),
    ] {
        let (status, answer) = server.control(method, path, "{}");
        assert_eq!(status, 409, "{method} {path}: {answer}");
        assert!(
            answer.contains("Configuration comes from files."),
            "{answer}"
        );
    }
    assert_eq!(server.control("GET", "/config", "").0, 200);
    assert_eq!(server.control("GET", "/certificates", "").0, 200);
    assert_eq!(server.control("PATCH", "/config", "").0, 405);
}

#[test]
fn the_state_directory_is_neither_needed_nor_written_to() {
    let server = start("{}");
    let names = fs::read_dir(server.directory()).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["errors", "output"].contains(&name.as_str()))
        .collect();
    names.sort();
    assert!(
        !names.iter().any(|name| name.contains("state")),
        "{names:?}"
    );
}

#[test]
fn a_configuration_that_cannot_be_used_at_the_start_ends_the_daemon_with_its_place() {
    for (text, expected) in [
        ("{", "main.json\", line 1, column "),
        (r#"{"listeners": 1}"#, "main.json\", line 1, column 15: "),
        (
            r#"{"applications": {"a": {"type": "wasm", "module": "${env:TEST_UNSET}"}}}"#,
            "main.json\", line 1, column 51: The environment variable \"TEST_UNSET\" is not set.",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("config")).unwrap();
        fs::write(directory.path().join("config/main.json"), text).unwrap();
        let ended = Process::spawn(&mut FromFiles.command(directory.path())).ended();
        ended.assert_refused(expected);
    }
    let directory = tempfile::tempdir().unwrap();
    let ended = Process::spawn(&mut FromFiles.command(directory.path())).ended();
    ended.assert_refused("cannot read ");
}

#[test]
fn certificates_of_the_folder_are_in_force_with_the_configuration_that_names_them() {
    let bundle = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        made.cert.pem() + &made.signing_key.serialize_pem()
    };
    let mut server = start("{}");
    let text = server.fill_in(
        r#"{"listeners": {"{tls}": {"pass": "routes", "tls": {"certificate": "site"}}},
            "routes": [{"action": {"return": 200}}]}"#,
    );
    // Not before the certificate is there.
    fs::write(file(&server, "main.json"), text).unwrap();
    within(SOON, "the missing certificate", || {
        problem(&server)
            .contains("Certificate \\\"site\\\" is not found.")
            .then_some(())
    });
    for name in ["first.example", "second.example"] {
        replace(&server, "site.pem", &bundle(name));
        within(SOON, name, || {
            let subject = server.get("/certificates/site/chain/0/subject/alt_names/0");
            (subject.contains(name) && problem(&server) == "null").then_some(())
        });
    }
    // One that is broken does not replace the good one.
    replace(&server, "site.pem", "-----BEGIN CERTIFICATE-----\n");
    within(SOON, "the broken certificate", || {
        problem(&server).contains("site.pem").then_some(())
    });
    assert!(server.get("/certificates/site").contains("second.example"));
}

#[test]
fn expressions_are_replaced_and_never_shown() {
    let mut server = start("{}");
    let secret = server.directory().join("secret");
    fs::write(&secret, "first secret\n").unwrap();
    let text = configuration::guests_with(&[(
        "environment",
        &format!(
            r#""environment": {{"A": "<${{env:TEST_GREETING}}>", "B": "${{file:{}}}", "C": "${{env:TEST_UNSET:-default}}"}}"#,
            secret.display()
        ),
    )]);
    let text = server.fill_in(&text);
    fs::write(file(&server, "main.json"), &text).unwrap();
    let shown = |server: &Running| {
        let answer = server.connect("environment").get("/");
        String::from_utf8_lossy(&answer.body).into_owned()
    };
    within(SOON, "it is in force", || {
        Client::try_connect(server.address("environment")).map(|_| ())
    });
    let environment = shown(&server);
    for value in ["A=<a secret greeting>", "B=first secret\n", "C=default"] {
        assert!(environment.contains(value), "{environment}");
    }
    // Read again at a change of the files, and when it is asked for.
    fs::write(&secret, "second secret").unwrap();
    server.signal(Signal::SIGHUP);
    within(SOON, "the second secret is in force", || {
        shown(&server).contains("B=second secret").then_some(())
    });
    // An error about a value names the expression.
    let wrong = text.replace(
        "\"type\"",
        "\"stdout\": \"/proc/${env:TEST_GREETING}\", \"type\"",
    );
    replace(&server, "main.json", &wrong);
    within(SOON, "the error", || {
        problem(&server)
            .contains("${env:TEST_GREETING}")
            .then_some(())
    });
    for path in ["/config", "/status", "/"] {
        let text = server.get(path);
        assert!(
            !text.contains("secret greeting") && !text.contains("second secret"),
            "{text}"
        );
    }
    assert!(server.get("/config").contains("${env:TEST_GREETING}"));
}

#[test]
fn a_configuration_is_tried_again_when_its_component_is_there() {
    let mut server = start("{}");
    let hello = test_components::guest("hello");
    let component = server.directory().join("late.wasm");
    let application = configuration::application(&component, "");
    let text = configuration::applications_of(&[("hello", application)]);
    let text = server.fill_in(&text);
    replace(&server, "main.json", &text);
    within(SOON, "the missing component", || {
        problem(&server).contains("late.wasm").then_some(())
    });
    fs::copy(hello, component).unwrap();
    within(SOON, "it is in force", || {
        is_served(&server, "hello", "Hello, world!\n").then_some(())
    });
    assert_eq!(server.log_lines("cannot use the configuration").len(), 1);
}

#[test]
fn what_a_start_has_left_out_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("config")).unwrap();
    let component = directory.path().join("late.wasm");
    let application = configuration::application(&component, "");
    let text = configuration::applications_of(&[("hello", application)]);
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = text.replacen("{hello}", &busy.local_addr().unwrap().to_string(), 1);
    fs::write(directory.path().join("config/main.json"), text).unwrap();
    let server = Running::launch(FromFiles.command(directory.path()), directory);
    let ready = || server.control("GET", "/status/ready", "");
    let (status, reason) = ready();
    assert!(status == 503 && reason.contains("not loaded"), "{reason}");
    assert!(reason.contains("not open"), "{reason}");
    fs::copy(test_components::guest("hello"), component).unwrap();
    drop(busy);
    within(SOON, "all is served", || (ready().0 == 200).then_some(()));
}

#[test]
fn root_reads_no_configuration_that_the_servers_user_could_change() {
    if !can_become_another_user() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("config");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("main.json");
    fs::write(&file, "{}").unwrap();
    let run = || {
        let mut command = FromFiles.command(directory.path());
        let user = User::from_uid(Uid::from_raw(65534)).unwrap().unwrap();
        Process::spawn(command.args(["--user", &user.name])).ended()
    };
    nix::unistd::chown(&file, Some(Uid::from_raw(65534)), None).unwrap();
    run().assert_refused("can be written by the user of --user");
    // Nor is one of use that this user cannot read later.
    nix::unistd::chown(&file, Some(Uid::from_raw(0)), None).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    run().assert_refused("the user of --user cannot read the configuration");
}

#[test]
fn guests_cannot_get_the_folder_of_the_configuration() {
    let mut server = start("{}");
    for (folder, expected) in [
        ("config", "could read the private keys"),
        ("", "could read the private keys"),
    ] {
        let folder = server.directory().join(folder);
        let access = format!(r#""access": {{"filesystem": [{folder:?}]}}"#);
        let text = configuration::guests_with(&[("hello", &access)]);
        let text = server.fill_in(&text);
        replace(&server, "main.json", &text);
        within(SOON, expected, || {
            problem(&server).contains(expected).then_some(())
        });
        replace(&server, "main.json", "{}");
        within(SOON, "no problem", || {
            (problem(&server) == "null").then_some(())
        });
    }
}

#[test]
fn scripts_of_an_images_folder_are_not_run_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("config");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("main.json"), "{}").unwrap();
    fs::write(folder.join("setup.sh"), "#!/bin/sh\nexit 1\n").unwrap();
    let server = Running::launch(FromFiles.command(directory.path()), directory);
    let line = server.wait_for_log("setup.sh");
    assert!(
        line.contains("[warn]") && line.contains("not run"),
        "{line}"
    );
}

#[test]
fn clients_of_the_control_api_may_use_expressions_only_if_that_is_allowed() {
    let text = r#"{"A": "${env:PATH}"}"#;
    let path = "/config/applications/environment/environment";
    let server = Running::guests(&Daemon, &["environment"]);
    let (status, answer) = server.control("PUT", path, text);
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("--allow-substitution"), "{answer}");
    assert!(
        answer.contains("/applications/environment/environment/A"),
        "{answer}"
    );

    struct Allowed;
    impl FrontEnd for Allowed {
        fn command(&self, directory: &Path) -> Command {
            let mut command = Daemon.command(directory);
            command.arg("--allow-substitution");
            command.env("TEST_GREETING", "a secret greeting");
            command
        }
    }
    let mut server = Running::guests(&Allowed, &["environment"]);
    let text = r#"{"A": "${env:TEST_GREETING}"}"#;
    let (status, answer) = server.control("PUT", path, text);
    assert_eq!(status, 200, "{answer}");
    let shown = server.connect("environment").get("/").body;
    assert!(String::from_utf8_lossy(&shown).contains("A=a secret greeting"));
    let kept = server.directory().join("state/conf.json");
    let kept = || fs::read_to_string(&kept).unwrap();
    assert!(
        kept().contains("${env:TEST_GREETING}") && !kept().contains("secret"),
        "{}",
        kept()
    );
    // It is replaced again at the next start.
    assert_eq!(server.stop().code(), Some(0));
    server.start_again(&Allowed);
    let shown = server.connect("environment").get("/").body;
    assert!(String::from_utf8_lossy(&shown).contains("A=a secret greeting"));
    // Without its value the daemon does not start, and the configuration stays where it is.
    assert_eq!(server.stop().code(), Some(0));
    let before = kept();
    let mut command = Allowed.command(server.directory());
    let ended = Process::spawn(command.env_remove("TEST_GREETING")).ended();
    ended.assert_refused("The environment variable \"TEST_GREETING\" is not set.");
    assert_eq!(kept(), before);
}
