//! `access.filesystem`: folders that are there, and folders that are not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use test_suite::{Running, configuration};

use crate::support::{Daemon, run};

/// The guest `files`, with these folders.
fn files(folders: &str) -> String {
    let members = format!(r#""access": {{"filesystem": {folders}}}"#);
    configuration::guests_with(&[("files", &members)])
}

fn folder(path: &Path) -> String {
    fs::create_dir(path).unwrap();
    fs::write(path.join("file"), "content").unwrap();
    path.display().to_string()
}

#[test]
fn a_guest_has_the_configured_folders_under_their_configured_names() {
    let mut server = Running::idle(&Daemon);
    let [one, two, three] =
        ["one", "two", "three"].map(|name| folder(&server.directory().join(name)));
    let (status, answer) = server.put(
        "/config",
        &files(&format!(
            r#"["{one}", {{"path": "{two}", "as": "/data/"}},
                {{"path": "{three}", "as": "/kept", "read_only": true}}]"#
        )),
    );
    assert_eq!(status, 200, "{answer}");
    let mut client = server.connect("files");
    let mut names = [one.as_str(), "/data", "/kept"];
    names.sort_unstable();
    client
        .get("/")
        .assert_text(&names.map(|name| format!("{name}\n")).concat());
    for name in names {
        let read = client.get(&format!("/?read={name}/file"));
        read.assert_text("ok: content\n");
    }
    let write = |name: &str| format!("/?write={name}/new");
    client.get(&write(&one)).assert_text("ok: written\n");
    client.get(&write("/data")).assert_text("ok: written\n");
    assert_eq!(fs::read_to_string(format!("{two}/new")).unwrap(), "written");
    let refused = client.get(&write("/kept"));
    assert!(refused.text().starts_with("error: "), "{refused:?}");
    assert!(!fs::exists(format!("{three}/new")).unwrap());
}

#[test]
fn a_missing_folder_refuses_the_change_and_is_named() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    let before = server.get("/config");
    let here = folder(&server.directory().join("here"));
    let gone = server.directory().join("gone").display().to_string();
    let (loop_, dangling) = (format!("{here}/loop"), format!("{here}/dangling"));
    symlink(&loop_, &loop_).unwrap();
    symlink(&gone, &dangling).unwrap();
    for (path, why) in [
        (gone, "No such file"),
        (dangling, "No such file"),
        (format!("{here}/file"), "Not a directory"),
        (loop_, "symbolic links"),
        ("/dev/null".to_owned(), "Not a directory"),
        ("/proc/self/mem".to_owned(), "Not a directory"),
        (format!("/{}", "x".repeat(4000)), "name too long"),
    ] {
        for folders in [
            format!(r#"["{here}", "{path}"]"#),
            format!(r#"["{here}", {{"path": "{path}", "as": "/data", "read_only": true}}]"#),
        ] {
            let (status, answer) = server.put("/config", &files(&folders));
            assert_eq!(status, 500, "{answer}");
            for word in [
                "Failed to apply new configuration.",
                "/applications/files/access/filesystem/1",
                &path,
                why,
            ] {
                assert!(answer.contains(word), "{word:?} in {answer}");
            }
        }
    }
    assert_eq!(server.get("/config"), before);
    let mut client = server.connect("hello");
    client.get("/").assert_text("Hello, world!\n");
}

#[test]
fn guests_cannot_read_private_keys_or_write_to_the_servers_own_folders() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    let state = server.directory().join("state");
    assert!(state.join("compiled").is_dir());
    let link = server.directory().join("link");
    symlink(&state, &link).unwrap();
    let put = |server: &mut Running, path: &Path, members: &str| {
        let path = path.display();
        let folder = format!(r#"[{{"path": "{path}"{members}}}]"#);
        server.put("/config", &files(&folder))
    };
    let all = server.directory().to_owned();
    let cache = state.join("compiled");
    let certificates = state.join("certs");
    assert!(certificates.is_dir());
    for members in ["", r#", "read_only": true"#] {
        for path in [&all, &state, &certificates, &link, &link.join("certs")] {
            let (status, answer) = put(&mut server, path, members);
            assert_eq!(status, 500, "{answer}");
            assert!(answer.contains("the private keys in "), "{answer}");
            assert!(answer.contains("/access/filesystem/0"), "{answer}");
        }
    }
    let (status, answer) = put(&mut server, &cache, "");
    assert_eq!(status, 500, "{answer}");
    assert!(answer.contains("which the server trusts"), "{answer}");
    let (status, answer) = put(&mut server, &cache, r#", "read_only": true"#);
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn a_guests_folder_cannot_be_replaced_by_a_symlink_later() {
    let mut server = Running::idle(&Daemon);
    let outside = folder(&server.directory().join("outside"));
    let around = server.directory().join("around");
    let inner = around.join("inner");
    fs::create_dir(&around).unwrap();
    folder(&inner);
    // By a link of the administrator's, which is followed.
    let linked = server.directory().join("linked");
    symlink(&inner, &linked).unwrap();
    let folders = format!(r#"[{{"path": "{}", "as": "/data"}}]"#, linked.display());
    let (status, answer) = server.put("/config", &files(&folders));
    assert_eq!(status, 200, "{answer}");
    let mut client = server.connect("files");
    client.get("/?read=/data/file").assert_text("ok: content\n");

    fs::rename(&inner, around.join("away")).unwrap();
    symlink(&outside, &inner).unwrap();
    client.get("/?write=/data/new").assert_page(503);
    server.wait_for_log("cannot be opened");
    assert!(!Path::new(&outside).join("new").exists());

    fs::remove_file(&inner).unwrap();
    fs::rename(around.join("away"), &inner).unwrap();
    server
        .connect("files")
        .get("/?read=/data/file")
        .assert_text("ok: content\n");
}

#[test]
fn a_missing_folder_at_the_start_disables_only_its_own_application() {
    let mut server = Running::idle(&Daemon);
    let path = server.directory().join("folder");
    let name = folder(&path);
    let members = format!(r#""access": {{"filesystem": ["{name}"]}}"#);
    let configuration = configuration::guests_with(&[("files", &members), ("hello", "")]);
    assert_eq!(server.put("/config", &configuration).0, 200);
    let before = server.get("/config");
    assert_eq!(server.stop().code(), Some(0));

    fs::remove_dir_all(&path).unwrap();
    server.start_again(&Daemon);
    let mut hello = server.connect("hello");
    hello.get("/").assert_text("Hello, world!\n");
    server.connect("files").get("/").assert_page(503);
    let line = server.wait_for_log("cannot load: ");
    assert!(
        line.contains("[error] application \"files\"") && line.contains(&name),
        "{line}"
    );
    assert_eq!(server.get("/config"), before, "the configuration is kept");
    // It does not stand in the way of other changes, which try again.
    let limits = r#"{"timeout": 7}"#;
    let (status, answer) = server.put("/config/applications/hello/limits", limits);
    assert_eq!(status, 200, "{answer}");
    server.connect("files").get("/").assert_page(503);

    let restart = "/control/applications/files/restart";
    let (status, answer) = server.control("GET", restart, "");
    assert_eq!(status, 500, "{answer}");
    assert!(answer.contains(&name), "{answer}");
    folder(&path);
    let (status, answer) = server.control("GET", restart, "");
    assert_eq!(status, 200, "{answer}");
    let read = format!("/?read={name}/file");
    server
        .connect("files")
        .get(&read)
        .assert_text("ok: content\n");
}

#[test]
fn check_names_a_missing_folder() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    let gone = directory.path().join("gone").display().to_string();
    let component = test_components::guest("files");
    let members = format!(r#""access": {{"filesystem": [{{"path": "{gone}", "as": "/data"}}]}}"#);
    let application = configuration::application(&component, &members);
    fs::write(
        &file,
        format!(r#"{{"applications": {{"a": {application}}}}}"#),
    )
    .unwrap();
    let ended = run([Path::new("check"), &file]);
    ended.assert_refused("/applications/a/access/filesystem/0");
    ended.assert_refused(&gone);
}
