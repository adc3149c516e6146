//! Which step of a route a request gets to, and who answers then.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use test_suite::{Client, Running, configuration, within};

use crate::support::{Daemon, LONG, routed};

/// The status that `head`, with the lines of a request but for the last, is answered with.
#[track_caller]
fn status(server: &Running, head: &str) -> u16 {
    let mut client = server.connect("main");
    client.send(format!("{head}\r\n\r\n"));
    client.response().head.status
}

#[track_caller]
fn get(server: &Running, target: &str, fields: &str) -> u16 {
    let fields = if fields.is_empty() { "host: a" } else { fields };
    status(server, &format!("GET {target} HTTP/1.1\r\n{fields}"))
}

#[test]
fn the_first_matching_step_of_a_route_is_taken_and_none_is_a_404() {
    let server = routed(
        r#"[
            {"match": {"uri": "/a*"}, "action": {"return": 201}},
            {"match": {"uri": ["*.php", "!/data/*"]}, "action": {"return": 202}},
            {"match": {"method": "POST", "host": ["localhost", "*.example.com"]}, "action": {"return": 203}}
        ]"#,
    );
    assert_eq!(get(&server, "/about", ""), 201);
    assert_eq!(get(&server, "/x/../%61b", ""), 201);
    assert_eq!(get(&server, "/index.php", ""), 202);
    assert_eq!(get(&server, "/data/index.php", ""), 404);
    assert_eq!(
        status(&server, "POST / HTTP/1.1\r\nhost: www.Example.com.:80"),
        203
    );
    assert_eq!(status(&server, "POST / HTTP/1.1\r\nhost: example.com"), 404);
    assert_eq!(get(&server, "/", ""), 404);
}

#[test]
fn the_properties_of_the_documentation_match() {
    let server = routed(
        r#"[
            {"match": {"headers": [{"Accept-Encoding": "*gzip*", "User-Agent": "Mozilla/5.0*"},
                                   {"User-Agent": "curl*"}]}, "action": {"return": 201}},
            {"match": {"arguments": {"mode": "strict", "access": "!full"}}, "action": {"return": 202}},
            {"match": {"cookies": {"login": "~^[a-z]+$"}}, "action": {"return": 203}},
            {"match": {"query": "en-us=*"}, "action": {"return": 204}},
            {"match": {"scheme": "https"}, "action": {"return": 205}},
            {"match": {"if": "$header_x_wanted"}, "action": {"return": 206}},
            {"match": {"source": ["10.0.0.0/8", "127.0.0.1"], "destination": "!*:1",
                       "uri": "~^/here/[0-9]+$"}, "action": {"return": 207}},
            {"match": {"source": "unix"}, "action": {"return": 208}}
        ]"#,
    );
    let with = |fields: &str| get(&server, "/", &format!("host: a\r\n{fields}"));
    assert_eq!(with("user-agent: CURL/8"), 201);
    assert_eq!(
        with("user-agent: mozilla/5.0 x\r\naccept-encoding: br, gzip"),
        201
    );
    assert_eq!(with("user-agent: mozilla/5.0 x"), 404);
    assert_eq!(get(&server, "/?access=none&mode=strict", ""), 202);
    assert_eq!(get(&server, "/?access=full&mode=strict", ""), 404);
    assert_eq!(get(&server, "/?mode=strict", ""), 404);
    assert_eq!(with("cookie: a=b; login=me"), 203);
    assert_eq!(with("cookie: login=2"), 404);
    assert_eq!(get(&server, "/?en-us=1", ""), 204);
    assert_eq!(with("x-wanted: 1"), 206);
    assert_eq!(with("x-wanted: 0"), 404);
    assert_eq!(get(&server, "/here/12", ""), 207);
    assert_eq!(get(&server, "/here/x", ""), 404);
}

#[test]
fn a_request_without_a_host_has_an_empty_one() {
    let server = routed(r#"[{"match": {"host": ""}, "action": {"return": 201}}]"#);
    assert_eq!(status(&server, "GET / HTTP/1.0"), 201);
    assert_eq!(get(&server, "/", "host:"), 201);
    assert_eq!(get(&server, "/", "host: localhost"), 404);
    // What the target says counts.
    assert_eq!(status(&server, "GET http://a/ HTTP/1.1\r\nhost: "), 404);
}

#[test]
fn path_traversal_out_of_the_root_is_refused() {
    let server = routed(r#"[{"action": {"return": 200}}]"#);
    for target in ["/..", "/a/../../b", "/%2e%2e/a", "/%00", "/%", "/%zz"] {
        assert_eq!(get(&server, target, ""), 400, "{target}");
    }
    assert_eq!(status(&server, "OPTIONS * HTTP/1.1\r\nhost: a"), 400);
    assert_eq!(get(&server, "/?%zz", ""), 200);
}

#[test]
fn routes_pass_to_each_other_and_to_applications() {
    let guests = ["hello", "early"].map(|name| {
        let file = test_components::guest(name);
        format!(r#""{name}": {}"#, configuration::application(&file, ""))
    });
    let server = Running::start(
        &Daemon,
        &format!(
            r#"{{"listeners": {{"{{main}}": {{"pass": "routes/main"}},
                               "{{direct}}": {{"pass": "applications/hello"}},
                               "{{variable}}": {{"pass": "routes/$method"}}}},
                "routes": {{
                    "main": [
                        {{"match": {{"uri": "/hello"}}, "action": {{"pass": "applications/hello"}}}},
                        {{"match": {{"uri": "/early"}}, "action": {{"pass": "routes/early"}}}},
                        {{"match": {{"uri": "/app/*"}}, "action": {{"pass": "applications/$arg_name"}}}},
                        {{"match": {{"uri": "/loop"}}, "action": {{"pass": "routes/main"}}}}
                    ],
                    "early": [{{"action": {{"pass": "applications/early"}}}}],
                    "GET": [{{"action": {{"return": 201}}}}],
                    "empty": []
                }},
                "applications": {{{}}}}}"#,
            guests.join(", ")
        ),
    );
    let mut client = server.connect("main");
    client.get("/hello").assert_text("Hello, world!\n");
    client.get("/early").assert_text("early\n");
    client.get("/app/?name=early").assert_text("early\n");
    client.get("/app/?name=none").assert_page(404);
    client.get("/app/").assert_page(404);
    client.get("/loop").assert_page(500);
    client.get("/elsewhere").assert_page(404);
    server.wait_for_log("passed 256 times");
    server
        .connect("direct")
        .get("/")
        .assert_text("Hello, world!\n");
    let mut variable = server.connect("variable");
    assert_eq!(variable.get("/").head.status, 201);
    assert_eq!(variable.post("/", "").head.status, 404);
}

#[test]
fn a_rewrite_changes_what_applications_and_later_steps_see() {
    let file = test_components::example();
    let server = Running::start(
        &Daemon,
        &format!(
            r#"{{"listeners": {{"{{main}}": {{"pass": "routes/main"}}}},
                "routes": {{
                    "main": [
                        {{"match": {{"uri": "/v1/*"}},
                          "action": {{"rewrite": "/v2$uri", "pass": "routes/next"}}}},
                        {{"match": {{"uri": "/up"}},
                          "action": {{"rewrite": "$arg_to", "return": 200}}}}
                    ],
                    "next": [
                        {{"match": {{"uri": ["/v2/v1/app *", "/v2/v1/é*"]}},
                          "action": {{"pass": "applications/app"}}}},
                        {{"action": {{"return": 200, "response_headers":
                            {{"X-Uri": "$uri", "X-Asked": "$request_uri"}}}}}}
                    ]
                }},
                "applications": {{"app": {}}}}}"#,
            configuration::application(&file, "")
        ),
    );
    let mut client = server.connect("main");
    let response = client.get("/v1/app%20a?b=%20c");
    assert!(
        response
            .text()
            .contains("REQUEST_PATH = /v2/v1/app%20a?b=%20c\n"),
        "{}",
        response.text()
    );
    let head = client.get("/v1/x/./y").head;
    assert_eq!(head.field("x-uri"), Some("/v2/v1/x/y"));
    assert_eq!(head.field("x-asked"), Some("/v1/x/./y"));
    // Encoded, this takes more than a target may: and the one that was sent is not passed on.
    client
        .get(&format!("/v1/{}", "é".repeat(12_000)))
        .assert_page(500);
    client.get("/up?to=%2500").assert_page(500);
    client.get("/up?to=..").assert_page(500);
}

#[test]
fn response_headers_are_set_and_removed_where_there_is_no_error() {
    let file = test_components::guest("hello");
    let server = Running::start(
        &Daemon,
        &format!(
            r#"{{"listeners": {{"{{main}}": {{"pass": "routes"}}}},
                "routes": [
                    {{"match": {{"uri": "/app"}},
                      "action": {{"pass": "applications/hello", "response_headers":
                        {{"Cache-Control": "max-age=60", "X-Asked": "$method $request_uri",
                          "X-Status": "$status", "Content-Type": null}}}}}},
                    {{"match": {{"uri": "/error"}},
                      "action": {{"return": 404, "response_headers": {{"X-A": "b"}}}}}},
                    {{"match": {{"uri": "/line"}},
                      "action": {{"return": 200, "response_headers": {{"X-A": "$arg_a", "Server": "mine"}}}}}}
                ],
                "applications": {{"hello": {}}}}}"#,
            configuration::application(&file, "")
        ),
    );
    let mut client = server.connect("main");
    let head = client.get("/app?a=b").head;
    assert_eq!(head.field("cache-control"), Some("max-age=60"));
    assert_eq!(head.field("x-asked"), Some("GET /app?a=b"));
    assert_eq!(head.field("x-status"), Some("200"));
    assert_eq!(head.field("content-type"), None);
    assert_eq!(client.get("/error").head.field("x-a"), None);
    let head = client.get("/line?a=b").head;
    assert_eq!(
        (head.field("x-a"), head.field("server")),
        (Some("b"), Some("mine"))
    );
    // A response is not split in two, and no link takes the field away.
    let head = client.get("/line?a=b%0D%0Ac:d%00%7F%09e").head;
    assert_eq!(head.field("x-a"), Some("b  c:d  \te"));
    assert_eq!(head.field("c"), None);
}

#[test]
fn an_invalid_route_is_refused_with_its_path() {
    let mut server = Running::idle(&Daemon);
    let (status, answer) = server.put(
        "/config",
        r#"{"routes": [{"match": {"uri": "~(["}, "action": {"return": 200}}]}"#,
    );
    assert_eq!(status, 400);
    assert!(answer.contains("Invalid regular expression: "), "{answer}");
    assert!(answer.contains("/routes/0/match/uri"), "{answer}");
}

#[test]
fn two_hundred_changes_of_routes_cost_no_request() {
    let mut server = routed(r#"[{"action": {"return": 201}}]"#);
    let address = server.address("main");
    let (stop, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for keeps in [true, false] {
            let (stop, requests) = (&stop, &requests);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::Relaxed) {
                    let status = client.get("/a").head.status;
                    assert!(matches!(status, 201 | 202), "{status}");
                    requests.fetch_add(1, Ordering::Relaxed);
                    if !keeps {
                        client = Client::connect(address);
                    }
                }
            });
        }
        for round in 0..200 {
            let status = 201 + round % 2;
            let steps = format!(
                r#"[{{"match": {{"uri": "/b"}}, "action": {{"return": 404}}}}, {{"action": {{"return": {status}}}}}]"#
            );
            assert_eq!(server.put("/config/routes", &steps).0, 200);
        }
        let before = requests.load(Ordering::Relaxed);
        within(LONG, "requests continue", || {
            (requests.load(Ordering::Relaxed) > before).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert!(requests.load(Ordering::Relaxed) > 200);
}
