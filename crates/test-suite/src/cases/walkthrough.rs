//! The README's walkthrough, with its configuration as it stands.

use std::path::Path;

use crate::{End, FrontEnd, Running, curl, has_curl};

/// As the README has it, trailing comma included; only address and file differ.
fn wasm(file: &Path) -> String {
    let text = r#"{
      "listeners": {
          "{wasm}": {
              "pass": "applications/wasm"
          }
      },

      "applications": {
          "wasm": {
              "type": "wasm",
              "module": "/path/to/example.component.wasm",
              "request_handler": "<unused>",
              "malloc_handler": "<unused>",
              "free_handler": "<unused>",
          }
      }
  }"#;
    text.replace(
        "/path/to/example.component.wasm",
        &file.display().to_string(),
    )
}

/// The same by Unit's own name for components.
fn wasm_wasi_component(file: &Path) -> String {
    let text = r#"{
        "listeners": {"{wasm}": {"pass": "applications/wasm"}},
        "applications": {"wasm": {"type": "wasm-wasi-component", "component": "FILE"}}
    }"#;
    text.replace("FILE", &file.display().to_string())
}

/// Both builds of the example, under both types of application.
fn configurations() -> [String; 4] {
    let (built, adapted) = (
        test_components::example(),
        test_components::example_adapted(),
    );
    [
        wasm(&built),
        wasm(&adapted),
        wasm_wasi_component(&built),
        wasm_wasi_component(&adapted),
    ]
}

/// What the README shows.
const OUTPUT: &str = " * Welcome to the component model in Rust! *

[Request Info]
REQUEST_PATH = /hello?a=b
METHOD = POST
SCHEME = http
AUTHORITY = localhost

[Request Headers]
host = localhost:8080
user-agent = curl/7.81.0
accept = */*
content-length = 7
content-type = application/x-www-form-urlencoded

[Request Data]
xyzabcd
";

pub fn the_output_is_the_readmes_byte_for_byte(front: &impl FrontEnd) {
    for configuration in configurations() {
        let mut server = Running::idle(front);
        let (status, answer) = server.put("/config/", &configuration);
        assert_eq!(status, 200);
        assert_eq!(
            answer,
            "{\r\n\t\"success\": \"Reconfiguration done.\"\r\n}\r\n"
        );
        let mut client = server.connect("wasm");
        client.send(
            "POST /hello?a=b HTTP/1.1\r\n\
             Host: localhost:8080\r\n\
             User-Agent: curl/7.81.0\r\n\
             Accept: */*\r\n\
             Content-Length: 7\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             \r\n\
             xyzabcd",
        );
        let response = client.response();
        response.assert_text(OUTPUT);
        assert_eq!(response.head.field("content-type"), Some("text/plain"));
    }
}

pub fn curl_sees_the_readmes_output(front: &impl FrontEnd) {
    if !has_curl() {
        return;
    }
    let server = Running::start(front, &wasm(&test_components::example()));
    let address = server.address("wasm");
    let output = curl([
        "-A",
        "curl/7.81.0",
        "--connect-to",
        &format!("localhost:8080:{address}"),
        "http://localhost:8080/hello?a=b",
        "-d",
        "xyzabcd",
    ]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), OUTPUT);
    assert!(output.status.success());
}

pub fn the_example_copes_with_any_bytes(front: &impl FrontEnd) {
    let server = Running::start(front, &wasm(&test_components::example()));
    let mut client = server.connect("wasm");
    client.send(
        b"PROPFIND / HTTP/1.1\r\nhost: a\r\nx-name: caf\xe9\r\ncontent-length: 3\r\n\r\n\0\xff\n",
    );
    let response = client.response();
    let text = String::from_utf8_lossy(&response.body);
    assert!(text.contains("METHOD = PROPFIND\n"), "{text}");
    assert!(text.contains("\nx-name = caf\u{fffd}\n"), "{text}");
    assert!(response.body.ends_with(b"[Request Data]\n\0\xff\n\n"));

    // Of a long body it shows the beginning.
    let response = client.post("/", &"x".repeat(100_000));
    assert_eq!((response.head.status, response.end), (200, End::Complete));
    let shown = response.text().rsplit("[Request Data]\n").next();
    assert_eq!(shown.map(str::len), Some(64 * 1024 + 1));
}

pub fn a_component_of_the_oldest_point_release_is_served(front: &impl FrontEnd) {
    let server = Running::guests(front, &["proxy_02_0"]);
    let response = server.connect("proxy_02_0").get("/");
    response.assert_text("Hello, old world!\n");
}

pub fn a_component_may_mix_the_versions_of_wasi(front: &impl FrontEnd) {
    let server = Running::guests(front, &["mixed"]);
    let response = server.connect("mixed").get("/");
    response.assert_text("random: true, clocks: true\n");
}
