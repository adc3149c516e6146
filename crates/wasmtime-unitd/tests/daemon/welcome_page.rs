//! The page that packages start with, and the commands on it.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use test_suite::{Client, free_address, has_curl};

use crate::initial_config::{folder, start};
use crate::support::{Ended, run};

/// The file of the package.
fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../packaging/welcome")
        .join(name)
}

/// The configuration of the package, with this address, and the page as it is here.
fn packaged_config(address: SocketAddr) -> String {
    let text = fs::read_to_string(packaged("config.json")).unwrap();
    let page = packaged("index.html").canonicalize().unwrap();
    let listener = format!("\"{address}\": {{");
    for installed in [
        "/usr/share/wasmtime-unitd/welcome/index.html",
        "\"127.0.0.1:8080\": {",
    ] {
        assert_eq!(text.matches(installed).count(), 1, "{installed}");
    }
    text.replace(
        "/usr/share/wasmtime-unitd/welcome/index.html",
        &page.display().to_string(),
    )
    .replace("\"127.0.0.1:8080\": {", &listener)
}

#[test]
fn the_package_starts_with_a_page_that_needs_nothing_else() {
    let file = packaged("config.json");
    let checked = run([OsStr::new("check"), file.as_os_str()]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(!checked.errors.contains("warning"), "{checked:?}");

    let address = free_address();
    let _server = start(folder(&packaged_config(address)));
    let answer = Client::connect(address).get("/");
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.head.field("content-type"), Some("text/html"));
    let policy = answer.head.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let text = answer.text();
    for external in ["src=", "href=", "url(", "@import", "<script"] {
        assert!(!text.contains(external), "{external}");
    }
    Client::connect(address)
        .get("/favicon.ico")
        .assert_page(404);
}

#[test]
fn the_commands_of_the_page_work() {
    if !has_curl() {
        return;
    }
    let page = fs::read_to_string(packaged("index.html")).unwrap();
    let [first, own] = [free_address(), free_address()];
    let server = start(folder(&packaged_config(first)));
    let socket = server.control_socket().display().to_string();
    let example = test_components::guest("hello").display().to_string();
    let blocks = page.split("<pre>").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("</pre>").next());
    let outputs: Vec<_> = blocks
        .map(|block| {
            let script = block
                .replace("sudo ", "")
                .replace("curl ", "curl --disable --silent --show-error --fail ")
                .replace("journalctl ", "echo ")
                .replace("/run/wasmtime-unitd/control.sock", &socket)
                .replace("/usr/share/wasmtime-unitd/welcome/example.wasm", &example)
                .replace("127.0.0.1:8081", &own.to_string())
                .replace("127.0.0.1:8080", &first.to_string());
            // Nothing is left of the installed server, nor of HTML.
            for other in ["wasmtime-unitd/", "&", "<"] {
                assert!(!script.contains(other), "{script}");
            }
            let ended = Ended::of(Command::new("sh").args(["-e", "-c", &script]));
            assert_eq!(ended.code, Some(0), "{script}\n{ended:?}");
            ended.output
        })
        .collect();
    let [serve, see, _] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    assert!(serve.ends_with("Hello, world!\n"), "{serve}");
    assert!(see.contains("\"connections\""), "{see}");
    // The page is gone, and what was added is left.
    let listeners = server.get("/config/listeners");
    assert!(listeners.contains(&own.to_string()), "{listeners}");
    assert!(!listeners.contains(&first.to_string()), "{listeners}");
    assert_eq!(server.get("/config/routes"), "{}");
}
