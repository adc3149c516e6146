//! `stdout` and `stderr`: files for what guests print.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use test_suite::{Running, configuration, until};

use crate::support::{Daemon, Unprivileged, can_become_another_user};

/// What the guest `log` prints to its standard output.
fn stdout() -> Vec<u8> {
    let mut text = b"a line on stdout\n\x1b[31mred\x07\n\xff\xfe\n".to_vec();
    text.extend(vec![b'x'; 1 << 20]);
    text.extend(b"\nan unfinished line\n");
    text
}

/// The guest `guest` with its standard output in this file.
fn to_file(guest: &str, file: &Path) -> String {
    let members = format!(r#""stdout": "{}""#, file.display());
    configuration::guests_with(&[(guest, &members)])
}

fn text(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

#[test]
fn guest_output_goes_to_files_unescaped_and_not_to_the_log() {
    let mut server = Running::idle(&Daemon);
    let (out, err) = (
        server.directory().join("out"),
        server.directory().join("err"),
    );
    let members = format!(
        r#""stdout": "{}", "stderr": "{}""#,
        out.display(),
        err.display()
    );
    let configuration = configuration::guests_with(&[("log", &members)]);
    let (status, answer) = server.put("/config", &configuration);
    assert_eq!(status, 200, "{answer}");
    server.connect("log").get("/").assert_text("logged\n");
    until("all is written", || {
        fs::read(&out).is_ok_and(|out| out == stdout()) && text(&err) == "a line on stderr\n"
    });
    // All of the log is written when it has stopped.
    assert_eq!(server.stop().code(), Some(0));
    for stream in ["stdout:", "stderr:"] {
        assert_eq!(server.log_lines(stream), [""; 0]);
    }
}

#[test]
fn stdout_may_go_to_a_file_and_stderr_to_the_log() {
    let mut server = Running::idle(&Daemon);
    let file = server.directory().join("out");
    assert_eq!(server.put("/config", &to_file("log", &file)).0, 200);
    server.connect("log").get("/").assert_text("logged\n");
    server.wait_for_log("stderr: a line on stderr");
    until("all is written", || {
        text(&file).ends_with("unfinished line\n")
    });
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(server.log_lines("stdout:"), [""; 0]);
}

#[test]
fn applications_may_share_a_file_and_their_lines_stay_whole() {
    let mut server = Running::idle(&Daemon);
    let file = server.directory().join("out");
    let members = format!(r#""stdout": "{}""#, file.display());
    let guests = [
        ("print", members.as_str()),
        ("work_after", members.as_str()),
    ];
    let configuration = configuration::guests_with(&guests);
    assert_eq!(server.put("/config", &configuration).0, 200);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                server
                    .connect("print")
                    .get("/?500")
                    .assert_text("printed\n");
            });
            scope.spawn(|| server.connect("work_after").get("/").assert_text("done\n"));
        }
    });
    until("all have printed", || text(&file).lines().count() == 2004);
    for line in text(&file).lines() {
        let number = line.strip_prefix("line ");
        assert!(
            number.map_or(line == "work after the response is done", |number| {
                number.parse::<u32>().is_ok()
            }),
            "{line}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_opened_refuses_the_change_and_is_named() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    let before = server.get("/config");
    let pipe = server.directory().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    for (file, reason) in [
        (server.directory().join("missing/out"), "No such file"),
        (server.directory().to_owned(), "Is a directory"),
        (pipe, "without a reader"),
        (server.control_socket(), "a socket"),
    ] {
        let started = Instant::now();
        let (status, answer) = server.put("/config", &to_file("log", &file));
        assert_eq!(status, 500, "{answer}");
        for word in [
            "/applications/log/stdout",
            reason,
            &file.display().to_string(),
        ] {
            assert!(answer.contains(word), "{word:?} in {answer}");
        }
        assert!(started.elapsed() < Duration::from_secs(60));
    }
    assert_eq!(server.get("/config"), before);
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
}

#[test]
fn sigusr1_reopens_the_files_of_guest_output() {
    let mut server = Running::idle(&Daemon);
    let file = server.directory().join("out");
    let moved = server.directory().join("out.1");
    assert_eq!(server.put("/config", &to_file("print", &file)).0, 200);
    server.connect("print").get("/?1").assert_text("printed\n");
    until("the first line is there", || text(&file) == "line 1\n");
    fs::rename(&file, &moved).unwrap();
    server.connect("print").get("/?2").assert_text("printed\n");
    until("the old file stays in use", || {
        text(&moved) == "line 1\nline 1\nline 2\n"
    });
    server.signal(Signal::SIGUSR1);
    until("the new one is there", || file.exists());
    server.connect("print").get("/?1").assert_text("printed\n");
    until("it is written to", || text(&file) == "line 1\n");
    assert_eq!(text(&moved).lines().count(), 3);
}

#[test]
fn a_missing_output_file_at_the_start_does_not_prevent_serving() {
    let mut server = Running::idle(&Daemon);
    let folder = server.directory().join("folder");
    let file = folder.join("out");
    fs::create_dir(&folder).unwrap();
    assert_eq!(server.put("/config", &to_file("print", &file)).0, 200);
    assert_eq!(server.stop().code(), Some(0));
    fs::remove_dir_all(&folder).unwrap();

    server.start_again(&Daemon);
    let line = server.wait_for_log("folder/out");
    assert!(line.contains("[error]"), "{line}");
    server.connect("print").get("/?2").assert_text("printed\n");
    let line = server.wait_for_log("2 lines of output discarded");
    assert!(
        line.contains("[warn]") && line.contains("folder/out"),
        "{line}"
    );
    fs::create_dir(&folder).unwrap();
    server.signal(Signal::SIGUSR1);
    until("the file is there", || file.exists());
    server.connect("print").get("/?1").assert_text("printed\n");
    until("it is written to", || text(&file) == "line 1\n");
}

#[test]
fn output_files_of_a_saved_configuration_are_opened_without_root_privileges() {
    if !can_become_another_user() {
        return;
    }
    let mut server = Running::idle(&Daemon);
    // Only root may enter the server's folder.
    let file = server.directory().join("out");
    assert_eq!(server.put("/config", &to_file("print", &file)).0, 200);
    assert_eq!(server.stop().code(), Some(0));
    server.start_again(&Unprivileged);
    server.connect("print").get("/?2").assert_text("printed\n");
    let line = server.wait_for_log("/out: ");
    assert!(
        line.contains("[error]") && line.contains("Permission denied"),
        "{line}"
    );
    server.wait_for_log("2 lines of output discarded");
    assert_eq!(text(&file), "");
}

#[test]
fn a_full_disk_loses_only_lines_of_output() {
    let mut server = Running::idle(&Daemon);
    let full = to_file("print", Path::new("/dev/full"));
    assert_eq!(server.put("/config", &full).0, 200);
    server.connect("print").get("/?3").assert_text("printed\n");
    let line = server.wait_for_log("3 lines of output discarded");
    assert!(
        line.contains("[warn] /dev/full: ") && line.contains("No space left on device"),
        "{line}"
    );
}

#[test]
fn the_rate_limit_of_guest_output_holds_for_files() {
    let mut server = Running::idle(&Daemon);
    let file = server.directory().join("out");
    assert_eq!(server.put("/config", &to_file("print", &file)).0, 200);
    server
        .connect("print")
        .get("/?30000")
        .assert_text("printed\n");
    until("each line is there or counted", || {
        let lines = server.log_lines("lines of output discarded");
        let lost = lines.iter().filter_map(|line| {
            let (_, message) = line.split_once("application \"print\" ")?;
            message.split_once(' ')?.0.parse::<usize>().ok()
        });
        text(&file).lines().count() + lost.sum::<usize>() == 30_000
    });
}
