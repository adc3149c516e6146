//! `/certificates`, and what of it is kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::signal::Signal;
use test_suite::{DEADLINE, Running, curl, has_curl};

use crate::peer::{Pair, start};
use crate::support::{Daemon, Unprivileged, can_become_another_user};

const ONE: &str = r#"{"certificate": "one"}"#;

#[test]
fn curl_uploads_a_bundle_as_in_units_documentation() {
    if !has_curl() {
        return;
    }
    let server = Running::idle(&Daemon);
    let bundle = server.directory().join("bundle.pem");
    let socket = server.control_socket().display().to_string();
    fs::write(&bundle, Pair::new(&["example.com"]).bundle()).unwrap();
    let output = curl([
        "-X",
        "PUT",
        "--data-binary",
        &format!("@{}", bundle.display()),
        "--unix-socket",
        &socket,
        "http://localhost/certificates/bundle",
    ]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("\"success\": \"Certificate chain uploaded.\""),
        "{said}"
    );
    let name = server.get("/certificates/bundle/chain/0/subject/alt_names/0/");
    assert_eq!(name, "\"example.com\"");
}

#[test]
fn an_invalid_certificate_bundle_is_refused_with_the_reason() {
    let server = Running::idle(&Daemon);
    let [pair, other] = [Pair::new(&["a"]), Pair::new(&["b"])];
    let bundle = pair.bundle();
    let key = &bundle[pair.certificate.len()..];
    for (text, why) in [
        ("", "no "),
        ("nonsense", "no "),
        (key, "no certificate"),
        (&pair.certificate, "no "),
        (&bundle[..bundle.len() / 2], "cut off"),
        (&(other.certificate.clone() + key), "key"),
        (&(bundle.clone() + &other.certificate), "order"),
        (&"x".repeat(300_000), "more than"),
    ] {
        let (status, answer) = server.control("PUT", "/certificates/a", text);
        assert_eq!(status, 400, "{answer}");
        assert!(
            answer.contains("\"error\": \"Invalid certificate.\""),
            "{answer}"
        );
        assert!(
            answer.contains("\"detail\": ") && answer.contains(why),
            "{why}: {answer}"
        );
    }
    assert_eq!(server.get("/certificates"), "{}");
    let kept = fs::read_dir(server.directory().join("state/certs")).unwrap();
    assert_eq!(kept.count(), 0);
}

#[test]
fn a_certificate_in_use_is_not_deleted_and_a_missing_one_is_refused() {
    let pair = Pair::new(&["localhost"]);
    let mut server = start("hello", ONE, &[("one", &pair)]);
    let address = server.address("hello");
    let (status, answer) = server.control("DELETE", "/certificates/one", "");
    assert_eq!(status, 400);
    assert!(
        answer.contains("Certificate is used in the configuration."),
        "{answer}"
    );
    let path = format!("/config/listeners/{address}/tls/certificate");
    let (status, answer) = server.put(&path, r#"["one", "two"]"#);
    assert_eq!(status, 400);
    assert!(
        answer.contains("Certificate \\\"two\\\" is not found."),
        "{answer}"
    );
    assert!(answer.contains("/tls/certificate/1\""), "{answer}");
    let mut client = pair.connect(address, "localhost");
    client.get("/").assert_text("Hello, world!\n");
    let path = format!("/config/listeners/{address}");
    assert_eq!(server.control("DELETE", &path, "").0, 200);
    assert_eq!(server.control("DELETE", "/certificates/one", "").0, 200);
    assert_eq!(server.control("GET", "/certificates/one", "").0, 404);
}

#[test]
fn certificates_are_kept_over_a_restart_and_a_crash() {
    let pair = Pair::new(&["localhost"]);
    let mut server = start("hello", ONE, &[("one", &pair)]);
    let shown = server.get("/certificates");
    let folder = server.directory().join("state/certs");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("one"))), (0o700, 0o600));
    assert_eq!(
        fs::read_to_string(folder.join("one")).unwrap(),
        pair.bundle()
    );
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        server.signal(signal);
        server.wait(DEADLINE);
        server.start_again(&Daemon);
        assert_eq!(server.get("/certificates"), shown);
        let mut client = pair.connect(server.address("hello"), "localhost");
        client.get("/").assert_text("Hello, world!\n");
    }
}

#[test]
fn a_damaged_certificate_disables_only_its_own_listeners() {
    let (pair, other) = (Pair::new(&["localhost"]), Pair::new(&["localhost"]));
    let mut server = start("hello", ONE, &[("one", &pair), ("two", &other)]);
    let tls = crate::peer::listener("hello", r#"{"certificate": "two"}"#);
    assert_eq!(server.put("/config/listeners/{second}", &tls).0, 200);
    let before = server.get("/config");
    assert_eq!(server.stop().code(), Some(0));
    let folder = server.directory().join("state/certs");
    fs::write(folder.join("one"), "damaged").unwrap();
    server.start_again(&Daemon);
    let line = server.wait_for_log("the certificate \"one\" cannot be used");
    assert!(line.contains("[error]"), "{line}");
    let (first, second) = (server.address("hello"), server.address("second"));
    let line = server.wait_for_log("cannot set TLS up: ");
    assert!(
        line.contains("[error]") && line.contains(&first.to_string()),
        "{line}"
    );
    assert_eq!(server.get("/config"), before, "the configuration is kept");
    other
        .connect(second, "localhost")
        .get("/")
        .assert_text("Hello, world!\n");
    assert!(pair.try_connect(first, "localhost").is_err());

    // It does not prevent other changes, and an upload replaces it.
    let path = "/config/applications/hello/limits";
    assert_eq!(server.put(path, r#"{"timeout": 7}"#).0, 200);
    assert_eq!(server.control("DELETE", "/certificates/one", "").0, 400);
    pair.upload(&server, "one");
    pair.connect(first, "localhost")
        .get("/")
        .assert_text("Hello, world!\n");
    other
        .connect(second, "localhost")
        .get("/")
        .assert_text("Hello, world!\n");
}

#[test]
fn certificates_are_usable_after_privileges_are_dropped() {
    if !can_become_another_user() {
        return;
    }
    let (old, new) = (Pair::new(&["localhost"]), Pair::new(&["localhost"]));
    let mut server = start("hello", ONE, &[("one", &old)]);
    assert_eq!(server.stop().code(), Some(0));
    // Only the user that runs the tests may enter the parent folder.
    let folder = server.directory().to_owned();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    server.start_again(&Unprivileged);
    let address = server.address("hello");
    old.connect(address, "localhost")
        .get("/")
        .assert_text("Hello, world!\n");
    new.upload(&server, "two");
    let path = format!("/config/listeners/{address}/tls/certificate");
    let (status, answer) = server.put(&path, "\"two\"");
    assert_eq!(status, 200, "{answer}");
    new.connect(address, "localhost")
        .get("/")
        .assert_text("Hello, world!\n");
    assert_eq!(server.control("DELETE", "/certificates/one", "").0, 200);
    assert!(!folder.join("state/certs/one").exists());
}
