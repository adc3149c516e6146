//! What guests write to their standard output and error.

use crate::{FrontEnd, Running, until};

pub fn guest_output_is_logged_line_by_line(front: &impl FrontEnd) {
    let server = Running::guests(front, &["log"]);
    server.connect("log").get("/").assert_text("logged\n");
    let line = server.wait_for_log("stdout: a line on stdout");
    let (_, id) = line.split_once("request ").unwrap();
    let id = &id[..32];
    for text in [
        "stdout: a line on stdout",
        "stderr: a line on stderr",
        // The end of the guest is the end of its last line.
        "stdout: an unfinished line",
    ] {
        let line = server.wait_for_log(text);
        // In between there may be a process.
        assert!(line.contains(" [info] "), "{line}");
        assert!(
            line.ends_with(&format!(" application \"log\" request {id} {text}")),
            "{line}"
        );
    }
}

pub fn a_guest_cannot_forge_or_colour_lines(front: &impl FrontEnd) {
    let server = Running::guests(front, &["log"]);
    server.connect("log").get("/").assert_text("logged\n");
    server.wait_for_log("an unfinished line");
    let line = server.wait_for_log("red");
    assert!(line.ends_with(r"stdout: \u{1b}[31mred\u{7}"), "{line}");
    server.wait_for_log("stdout: \u{fffd}\u{fffd}");
    let log = std::fs::read(server.directory().join("unit.log")).unwrap();
    assert!(std::str::from_utf8(&log).is_ok());
    assert!(!log.iter().any(|byte| *byte < b' ' && *byte != b'\n'));
}

pub fn an_overlong_line_is_continued_on_the_next(front: &impl FrontEnd) {
    let server = Running::guests(front, &["log"]);
    server.connect("log").get("/").assert_text("logged\n");
    server.wait_for_log("an unfinished line");
    let lines = server.log_lines("xxx");
    let longest = lines.iter().map(String::len).max().unwrap();
    assert!(longest < 10_000, "a line of {longest} bytes");
    let all: usize = lines.iter().map(|line| line.matches('x').count()).sum();
    assert_eq!(all, 1 << 20);
}

pub fn concurrent_requests_have_different_ids(front: &impl FrontEnd) {
    let server = Running::guests(front, &["work_after"]);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| server.connect("work_after").get("/").assert_text("done\n"));
        }
    });
    until("all have written", || {
        server.log_lines("stdout: work after").len() == 10
    });
    let lines = server.log_lines("stdout: work after");
    let mut ids: Vec<&str> = lines
        .iter()
        .map(|line| line.split_once("request ").unwrap().1)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10, "{lines:?}");
}

pub fn guest_output_beyond_the_rate_limit_is_dropped_and_counted(front: &impl FrontEnd) {
    const LINES: u64 = 30_000;
    let server = Running::guests(front, &["print", "log"]);
    // The guest does not notice.
    let mut client = server.connect("print");
    client.get(&format!("/?{LINES}")).assert_text("printed\n");
    let counted = || {
        let lines = server.log_lines("lines of output discarded");
        let number = |line: &String| {
            assert!(line.contains("[warn]"), "{line}");
            let (_, message) = line.split_once("application \"print\" ").unwrap();
            message.split_once(' ').unwrap().0.parse::<u64>().unwrap()
        };
        lines.iter().map(number).sum::<u64>()
    };
    let printed = || server.log_lines("stdout: line ").len() as u64;
    until("each line is there or counted", || {
        printed() + counted() == LINES
    });
    assert!(counted() > 0 && printed() > 4096, "{} lost", counted());
    // It was the first that passed, and others are not concerned.
    assert_eq!(server.log_lines("stdout: line 4096").len(), 1);
    server.connect("log").get("/").assert_text("logged\n");
    server.wait_for_log("an unfinished line");
    // It may print again.
    std::thread::sleep(std::time::Duration::from_millis(100));
    client.get("/?1").assert_text("printed\n");
    until("the line is there", || {
        server
            .log_lines("stdout: line 1")
            .iter()
            .filter(|line| line.ends_with("line 1"))
            .count()
            == 2
    });
}

pub fn failures_are_logged_up_to_a_rate_limit_and_counted(front: &impl FrontEnd) {
    const CLIENTS: usize = 4;
    const REQUESTS: usize = 200;
    let server = Running::guests(front, &["trap", "status"]);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = server.connect("trap");
                for _ in 0..REQUESTS {
                    assert_eq!(client.get("/").head.status, 500);
                }
            });
        }
    });
    const OMITTED: &str = "[error] lines of this application suppressed";
    let logged = || {
        let lines = server.log_lines("the guest trapped");
        lines.iter().filter(|line| !line.contains(OMITTED)).count()
    };
    let omitted = || {
        let lines = server.log_lines(OMITTED);
        let number = |line: &String| {
            let (_, message) = line.split_once("application \"trap\" ").unwrap();
            message.split_once(' ').unwrap().0.parse::<usize>().unwrap()
        };
        lines.iter().map(number).sum::<usize>()
    };
    until("each failure is logged or counted", || {
        logged() + omitted() == CLIENTS * REQUESTS
    });
    assert!(omitted() > 0, "{} lines", logged());
    // Another application has a rate of its own.
    let mut other = server.connect("status");
    other.get("/?103").assert_page(500);
    server.wait_for_log("application \"status\"");
}

pub fn a_long_error_code_is_truncated_in_the_log(front: &impl FrontEnd) {
    let server = Running::guests(front, &["error_code"]);
    server.connect("error_code").get("/?long").assert_page(500);
    let line = server.wait_for_log("the guest answered with an error: ");
    assert!(line.ends_with("xxx… (cut); answering 500"), "{line}");
    assert!(line.len() < 3000, "{} bytes", line.len());
}
