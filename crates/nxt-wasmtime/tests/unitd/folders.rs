//! `access.filesystem`: guests see the configured folders and no others.

use std::fs;
use std::os::unix::fs::symlink;

use test_suite::{Running, configuration};

use crate::support::Unitd;

#[test]
fn a_guest_has_exactly_the_folders_that_are_listed() {
    let Some(unitd) = Unitd::here() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [one, two, other] = ["one", "two", "other"].map(|name| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), format!("of {name}")).unwrap();
        path.display().to_string()
    });
    symlink(&other, format!("{one}/link")).unwrap();
    let members = format!(r#""access": {{"filesystem": ["{one}", "{two}"]}}"#);
    let server = Running::start(&unitd, &configuration::guests_with(&[("files", &members)]));
    let mut client = server.connect("files");
    client.get("/").assert_text(&format!("{one}\n{two}\n"));

    for (folder, name) in [(&one, "one"), (&two, "two")] {
        let read = client.get(&format!("/?read={folder}/file"));
        read.assert_text(&format!("ok: of {name}\n"));
        let written = client.get(&format!("/?write={folder}/new"));
        written.assert_text("ok: written\n");
        assert_eq!(
            fs::read_to_string(format!("{folder}/new")).unwrap(),
            "written"
        );
    }
    client
        .get(&format!("/?list={two}"))
        .assert_text("ok: file new\n");

    for outside in [
        format!("/?read={other}/file"),
        format!("/?list={other}"),
        format!("/?write={other}/new"),
        format!("/?read={one}/../other/file"),
        format!("/?read={one}/link/file"),
        format!("/?list={one}/.."),
        "/?read=/etc/passwd".to_owned(),
        "/?list=/".to_owned(),
    ] {
        let response = client.get(&outside);
        assert_eq!(response.head.status, 200, "{outside}");
        assert!(
            response.text().starts_with("error: "),
            "{outside}: {response:?}"
        );
    }
    assert!(!fs::exists(format!("{other}/new")).unwrap());
}

#[test]
fn a_folder_may_have_another_name_and_be_read_only() {
    let Some(unitd) = Unitd::here() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), "content").unwrap();
        path.display().to_string()
    });
    let members = format!(
        r#""access": {{"filesystem": [
            "{one}", {{"path": "{two}", "as": "/data/", "read_only": true}}
        ]}}"#
    );
    let server = Running::start(&unitd, &configuration::guests_with(&[("files", &members)]));
    let mut client = server.connect("files");
    let mut names = [one.as_str(), "/data"];
    names.sort_unstable();
    client
        .get("/")
        .assert_text(&names.map(|name| format!("{name}\n")).concat());
    let written = client.get(&format!("/?write={one}/new"));
    written.assert_text("ok: written\n");
    client.get("/?read=/data/file").assert_text("ok: content\n");
    let refused = client.get("/?write=/data/new");
    assert!(refused.text().starts_with("error: "), "{refused:?}");
    assert!(!fs::exists(format!("{two}/new")).unwrap());
}

#[test]
fn an_invalid_folder_is_logged_and_the_application_does_not_start() {
    let Some(unitd) = Unitd::here() else { return };
    let mut server = Running::guests(&unitd, &["hello"]);
    let here = server.directory().display().to_string();
    for (folder, words) in [
        (
            "1",
            "access.filesystem/1: The \"filesystem\" array must contain",
        ),
        (
            "[[[]]]",
            "access.filesystem/1: The \"filesystem\" array must contain",
        ),
        (
            r#""srv""#,
            "access.filesystem/1: The \"path\" of a folder must be absolute",
        ),
        (
            r#"{"path": 1.5}"#,
            "access.filesystem/1/path: The \"path\" value must be a string",
        ),
        (
            r#"{"path": "/", "read_only": "yes"}"#,
            "access.filesystem/1/read_only: The \"read_only\" value must be a boolean",
        ),
        (
            r#"{"path": "/", "readonly": true}"#,
            "Did you mean \"read_only\"?",
        ),
        (
            r#"{"path": "/", "as": "/../a"}"#,
            "access.filesystem/1/as: ",
        ),
        (
            r#""{here}""#,
            "access.filesystem/1: Guests would see two folders as",
        ),
        (r#""{here}/gone""#, "/gone cannot be used: No such file"),
        (
            r#"{"path": "{here}/unit.log", "as": "/log"}"#,
            "unit.log cannot be used: Not a directory",
        ),
    ] {
        let folder = folder.replace("{here}", &here);
        let before = server.log().len();
        let members = format!(r#""access": {{"filesystem": ["{here}", {folder}]}}"#);
        let configuration = configuration::guests_with(&[("files", &members)]);
        let (status, answer) = server.put("/config", &configuration);
        assert_eq!(status, 500, "{folder}: {answer}");
        let log = server.log().split_off(before);
        let is_logged = |line: &str| line.contains("application \"files\"") && line.contains(words);
        assert!(log.lines().any(is_logged), "{words:?} in {log}");
        let mut client = server.connect("hello");
        client.get("/").assert_text("Hello, world!\n");
    }
}

#[test]
fn without_a_list_a_guest_has_no_folder() {
    let Some(unitd) = Unitd::here() else { return };
    let server = Running::guests(&unitd, &["files"]);
    let mut client = server.connect("files");
    client.get("/").assert_text("");
    let response = client.get("/?list=/");
    assert!(response.text().starts_with("error: "), "{response:?}");
}
