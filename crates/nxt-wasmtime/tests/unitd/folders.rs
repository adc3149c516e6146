//! `access.filesystem`.

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
fn without_a_list_a_guest_has_no_folder() {
    let Some(unitd) = Unitd::here() else { return };
    let server = Running::guests(&unitd, &["files"]);
    let mut client = server.connect("files");
    client.get("/").assert_text("");
    let response = client.get("/?list=/");
    assert!(response.text().starts_with("error: "), "{response:?}");
}
