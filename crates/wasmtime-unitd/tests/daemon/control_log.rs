//! What the log says of requests to the control API, by who sent them.

use test_suite::Running;

use crate::support::Daemon;

#[test]
fn the_log_rate_limit_of_proxied_control_clients_does_not_suppress_operators_lines() {
    let mut server = Running::idle(&Daemon);
    let configuration = format!(
        r#"{{"listeners": {{"{{main}}": {{"pass": "routes"}}}},
             "routes": [{{"action": {{"proxy": "http://unix:{}"}}}}]}}"#,
        server.control_socket().display()
    );
    let (status, answer) = server.put("/config", &configuration);
    assert_eq!(status, 200, "{answer}");
    let mut stranger = server.connect("main");
    for _ in 0..400 {
        assert_eq!(stranger.get("/junk").head.status, 404);
    }
    assert_eq!(server.control("GET", "/of-an-operator", "").0, 404);
    let line = server.wait_for_log("/of-an-operator");
    assert!(line.contains("[info] control request refused"), "{line}");
}
