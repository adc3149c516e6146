//! What `/status` says of applications.

use test_suite::{Running, until};

use crate::support::Daemon;

/// What an application has at `path`, as `/status` shows it and as `/status/metrics` does.
fn both(server: &Running, path: &str, metric: &str) -> (String, String) {
    let value = server.get(&format!("/status/applications/{path}"));
    let metrics = server.get("/status/metrics");
    let metric = format!("wasmtime_unitd_application_{metric} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&metric));
    (value, line.unwrap_or("none").to_owned())
}

#[track_caller]
fn assert_both(server: &Running, path: &str, metric: &str, expected: &str) {
    let expected = (expected.to_owned(), expected.to_owned());
    assert_eq!(both(server, path, metric), expected, "{path}");
}

#[test]
fn applications_count_their_instances_failures_and_answers() {
    let mut server = Running::guests(&Daemon, &["hello", "trap", "sleep"]);
    server.connect("hello").get("/");
    for _ in 0..2 {
        assert_eq!(server.connect("trap").get("/").head.status, 500);
    }
    let mut busy = server.connect("sleep");
    busy.send("GET /?60000 HTTP/1.1\r\nhost: a\r\n\r\n");
    until("it is at work", || server.active("sleep") == "1");

    let trap = r#"{application="trap",kind="trap"}"#;
    let failures = format!("failures_total{trap}");
    assert_both(&server, "trap/instances/failures/trap", &failures, "2");
    let answers = r#"responses_total{application="trap",class="5xx"}"#;
    assert_both(&server, "trap/instances/responses/5xx", answers, "2");
    let started = r#"instances_started_total{application="trap"}"#;
    assert_both(&server, "trap/instances/started", started, "2");
    let active = r#"instances{application="sleep"}"#;
    assert_both(&server, "sleep/instances/active", active, "1");
    let time = server.get("/status/applications/hello/instances/execution_time");
    assert!(time.parse::<f64>().unwrap() > 0.0, "{time}");
    let memory = server.get("/status/applications/sleep/instances/memory/current");
    assert_eq!(server.get("/status/instances/memory/current"), memory);
    assert!(memory.parse::<u64>().unwrap() > 0);
    for metric in [
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
    ] {
        let metrics = server.get("/status/metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix(metric));
        assert!(value.unwrap().parse::<f64>().unwrap() > 0.0, "{metric}");
    }

    // Other changes keep the counters; a change of the application resets them.
    let listener = r#"{"pass": "applications/trap"}"#;
    assert_eq!(server.put("/config/listeners/{other}", listener).0, 200);
    assert_both(&server, "trap/instances/failures/trap", &failures, "2");
    let environment = "/config/applications/trap/environment";
    assert_eq!(server.put(environment, r#"{"A": "b"}"#).0, 200);
    assert_both(&server, "trap/instances/failures/trap", &failures, "0");
}
