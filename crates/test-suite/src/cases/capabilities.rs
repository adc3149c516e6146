//! What a guest has from its host, and what it has not.

use crate::{FrontEnd, Running, configuration};

pub fn guests_have_exactly_the_configured_environment(front: &impl FrontEnd) {
    let environment = r#""environment": {"B": "2", "A": "one = 1", "EMPTY": "", "ä": "ö"}"#;
    let configuration = configuration::guests_with(&[("environment", environment)]);
    let mut server = Running::start(front, &configuration);
    let text = "A=one = 1\nB=2\nEMPTY=\nä=ö\n";
    server.connect("environment").get("/").assert_text(text);

    let (status, _) = server.put(
        "/config/applications/environment/environment",
        r#"{"C": "3"}"#,
    );
    assert_eq!(status, 200);
    server.connect("environment").get("/").assert_text("C=3\n");
}

pub fn without_a_configured_environment_guests_have_none(front: &impl FrontEnd) {
    let server = Running::guests(front, &["environment"]);
    server.connect("environment").get("/").assert_text("");
}

pub fn by_default_guests_have_no_files_sockets_or_outbound_requests(front: &impl FrontEnd) {
    let server = Running::guests(front, &["denied", "files"]);
    server.connect("files").get("/").assert_text("");
    let response = server.connect("denied").get("/");
    assert_eq!(response.head.status, 200, "{response:?}");
    let lines: Vec<&str> = response.text().lines().collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    for (line, what) in lines
        .iter()
        .zip(["file", "directory", "tcp", "lookup", "http"])
    {
        assert!(line.starts_with(&format!("{what}: ")), "{line}");
        assert!(!line.ends_with(": ok"), "{line}");
    }
    assert!(lines[4].contains("HttpRequestDenied"), "{}", lines[4]);
}

pub fn a_guest_cannot_set_hop_by_hop_fields(front: &impl FrontEnd) {
    let server = Running::guests(front, &["bad_headers"]);
    let response = server.connect("bad_headers").get("/");
    assert_eq!(response.head.status, 200);
    for name in ["connection", "transfer-encoding", "host", "bad name", "x"] {
        let line = response
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        assert!(
            line.is_some_and(|line| line.starts_with("Err(")),
            "{name}: {line:?}"
        );
    }
}
