//! What a panic hook logs, in a process of its own: hooks and `RUST_BACKTRACE` hold for a whole process.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]

use std::process::Command;

use unit_log::Lines;

/// Set in the process that panics.
const CHILD: &str = "UNIT_LOG_TEST_PANICS";

/// The line that a panic causes in this form, with this value of `RUST_BACKTRACE`.
fn line(form: &str, backtrace: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, form);
    match backtrace {
        Some(value) => command.env("RUST_BACKTRACE", value),
        None => command.env_remove("RUST_BACKTRACE"),
    };
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let mut lines = output.lines().filter(|line| line.contains("a defect"));
    let line = lines.next().unwrap_or_else(|| panic!("{output}"));
    assert_eq!(lines.next(), None);
    line.to_owned()
}

#[test]
fn a_panic_is_one_line_in_json_too() {
    let line = line("json", Some("1"));
    assert!(line.starts_with("{\"time\":\""), "{line}");
    let message = r#","level":"error","target":"panic","message":""#;
    assert!(line.contains(message), "{line}");
    assert!(line.contains(r"\na defect\nstack backtrace:\n"), "{line}");
    assert!(line.ends_with("\"}") && line.len() < 17 << 10, "{line}");
}

/// Panics, if it runs in the other process.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let lines = if std::env::var_os(CHILD).is_some_and(|form| form == "json") {
        Lines::Json
    } else {
        Lines::Daemon
    };
    std::panic::set_hook(Box::new(move |panic| print!("\n{}", lines.panic(panic))));
    let thread = std::thread::spawn(|| panic!("a defect"));
    assert!(thread.join().is_err());
}

#[test]
fn a_panic_is_logged_with_a_backtrace_if_rust_backtrace_asks_for_it() {
    for value in [None, Some("0")] {
        let line = line("text", value);
        assert!(
            line.contains("[error] ") && line.ends_with(r"\na defect"),
            "{line}"
        );
    }
    for value in ["1", "full"] {
        let line = line("text", Some(value));
        assert!(line.contains(r"\na defect\nstack backtrace:\n"), "{line}");
        assert!(line.contains("panics::child"), "{line}");
        assert!(line.len() < 17 << 10, "{} bytes", line.len());
    }
}
