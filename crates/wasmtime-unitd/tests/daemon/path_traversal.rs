//! Hostile spellings of a path, by which routes would match one and who answers read another.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use test_suite::{DEADLINE, Running, Socket as _};

use crate::support::Daemon;

/// What may stand between two segments.
const SLASHES: [&str; 7] = ["/", "%2F", "%2f", "//", "/%2F", "\\", "/./"];

/// What may lead up.
const UPS: [&str; 7] = ["..", "%2e%2E", ".%2e", "..;", "..;a=b", "..%3b", "..%00"];

/// Ways to spell a path that begins with `allowed`, and may lead to `sensitive`.
fn spellings(allowed: &str, sensitive: &str) -> Vec<String> {
    let sensitive = sensitive.trim_start_matches('/');
    let mut spellings = Vec::new();
    for slash in SLASHES {
        let path = sensitive.replace('/', slash);
        // The host of another URL, to some parsers.
        spellings.push(format!("/{slash}{}/{path}", &allowed[1..]));
        for up in UPS {
            for above in 1..=3 {
                let ups = format!("{up}{slash}").repeat(above);
                spellings.push(format!("{allowed}{slash}{ups}{path}"));
                // Up to the sensitive path, and from there back, as routes have it.
                let encoded = allowed[1..].replace('/', "%2F");
                spellings.push(format!("/{path}{slash}{ups}{}", &allowed[1..]));
                spellings.push(format!("/{sensitive}/{up}%2F{up}%2F{encoded}%2Fx/{up}/y"));
            }
        }
    }
    spellings.push(format!("{allowed}/../{sensitive}"));
    spellings
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let escape = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match escape {
            Some(escaped) if byte == b'%' => {
                bytes.push(escaped);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The segments that are left of these.
fn resolved(path: &str, is_up: impl Fn(&str) -> bool) -> Vec<String> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            up if is_up(up) => _ = segments.pop(),
            segment => segments.push(decoded(segment)),
        }
    }
    segments
}

/// What servers of other makes may take a target's path for.
fn readings(path: &str) -> Vec<Vec<String>> {
    let without_parameters = path
        .split('/')
        .map(|it| it.split(';').next().unwrap_or_default());
    let without_parameters: Vec<_> = without_parameters.collect();
    // A reference to another host.
    let reference = path
        .strip_prefix("//")
        .and_then(|it| Some(it.split_once('/')?.1));
    vec![
        resolved(path, |it| it == ".."),
        resolved(path, |it| decoded(it) == ".."),
        resolved(&decoded(path), |it| it == ".."),
        resolved(&path.replace('\\', "/"), |it| it == ".."),
        resolved(&without_parameters.join("/"), |it| it == ".."),
        resolved(reference.unwrap_or(path), |it| it == ".."),
    ]
}

/// A server that answers each request with its target; where it listens.
fn telling() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            socket.bound(DEADLINE).unwrap();
            thread::spawn(move || {
                let mut reader = BufReader::new(socket);
                let mut head = String::new();
                while reader.read_line(&mut head).is_ok_and(|length| length > 0) {
                    if !head.ends_with("\r\n\r\n") {
                        continue;
                    }
                    let target = head.split(' ').nth(1).unwrap_or_default();
                    let length = target.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{target}");
                    let _ = reader.get_mut().write_all(answer.as_bytes());
                    head.clear();
                }
            });
        }
    });
    address
}

/// A daemon that lets clients at one path of each who may answer.
fn server(folder: &str) -> Running {
    let mut server = Running::idle(&Daemon);
    let control = server.control_socket();
    let (status, answer) = server.put(
        "/config",
        &format!(
            r#"{{
                "listeners": {{
                    "{{main}}": {{"pass": "routes"}},
                    "{{guest}}": {{"pass": "applications/guest"}},
                    "{{upstream}}": {{"pass": "upstreams/other"}}
                }},
                "routes": [
                    {{"match": {{"uri": "/status/metrics"}}, "action": {{"proxy": "http://unix:{control}"}}}},
                    {{"match": {{"uri": ["/guest", "/guest/*"]}}, "action": {{"pass": "applications/guest"}}}},
                    {{"match": {{"uri": ["/other", "/other/*"]}}, "action": {{"pass": "upstreams/other"}}}},
                    {{"match": {{"uri": ["/public", "/public/*"]}}, "action": {{"share": "{folder}$uri"}}}}
                ],
                "upstreams": {{"other": {{"servers": {{"{other}": {{}}}}}}}},
                "applications": {{"guest": {{"type": "wasm", "module": "{module}"}}}}
            }}"#,
            control = control.display(),
            other = telling(),
            module = test_components::example().display(),
        ),
    );
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("controls the server"), "{answer}");
    server
}

/// The status and the body.
fn get(server: &Running, listener: &str, target: &str) -> (u16, String) {
    let mut client = server.connect(listener);
    client.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
    let response = client.response();
    (response.head.status, response.text().to_owned())
}

#[test]
fn path_traversal_does_not_lead_past_a_route_to_the_control_api() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = server(&directory.path().display().to_string());
    let mut passed = 0;
    for sensitive in [
        "/config",
        "/config/routes",
        "/certificates",
        "/status",
        "/control/applications/guest/restart",
    ] {
        for target in spellings("/status/metrics", sensitive) {
            let (status, text) = get(&server, "main", &target);
            match status {
                200 => {
                    assert!(text.starts_with("# HELP "), "{target}: {text}");
                    passed += 1;
                }
                _ => assert!(matches!(status, 400 | 404), "{target}: {status} {text}"),
            }
        }
    }
    assert!(passed > 0);
    let reported = "/config/routes/..%2F..%2Fstatus%2Fx/../metrics";
    let (status, text) = get(&server, "main", reported);
    assert_eq!(status, 200);
    assert!(text.starts_with("# HELP "), "{text}");
    // All of the log is written when it has stopped.
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(server.log_lines("restarted"), [""; 0]);
}

#[test]
fn path_traversal_does_not_lead_past_a_route_to_an_upstream_or_a_guest() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory.path().display().to_string());
    for (allowed, name) in [("/other", "other"), ("/guest", "guest")] {
        let mut passed = 0;
        for target in spellings(allowed, "/admin/secret") {
            let (status, text) = get(&server, "main", &target);
            if status != 200 {
                assert!(matches!(status, 400 | 404), "{target}: {status}");
                continue;
            }
            let seen = text
                .lines()
                .find_map(|line| line.strip_prefix("REQUEST_PATH = "));
            let seen = seen.unwrap_or(&text);
            for reading in readings(seen) {
                assert_eq!(
                    reading.first().map(String::as_str),
                    Some(name),
                    "{target}: {seen}"
                );
            }
            passed += 1;
        }
        assert!(passed > 0);
    }
    // What is not ambiguous is passed on as it came.
    for target in ["/other/a%2Fb", "/other/a;b=c+d/%c3%A9?x=/../y"] {
        assert_eq!(get(&server, "main", target), (200, target.to_owned()));
    }
    // Where no route has matched, the target is passed on as it came.
    for target in ["/a/../b", "/a%2F..%2Fb", "//a//b"] {
        assert_eq!(get(&server, "upstream", target), (200, target.to_owned()));
    }
    let (_, text) = get(&server, "guest", "/a/%2e./b");
    assert!(text.contains("REQUEST_PATH = /a/%2e./b\n"), "{text}");
}

#[test]
fn path_traversal_does_not_lead_out_of_the_folder_of_a_route() {
    let directory = tempfile::tempdir().unwrap();
    for (folder, text) in [("private", "secret"), ("public", "public")] {
        let folder = directory.path().join(folder);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file.txt"), text).unwrap();
    }
    let server = server(&directory.path().display().to_string());
    for target in spellings("/public", "/private/file.txt") {
        let (status, text) = get(&server, "main", &target);
        assert!(!text.contains("secret"), "{target}: {text}");
        assert!(
            matches!(status, 301 | 400 | 403 | 404),
            "{target}: {status}"
        );
    }
    for target in ["/public/file.txt", "/private/..%2Fpublic/./file.txt"] {
        assert_eq!(get(&server, "main", target), (200, "public".to_owned()));
    }
}
