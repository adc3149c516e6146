//! `access`: folders and outgoing requests.

use super::*;

fn folders(text: &str) -> Result<Checked, ConfigError> {
    application(&format!(r#""access":{{"filesystem":{text}}}"#))
}

#[test]
fn a_folder_is_a_string_or_an_object() {
    let folder = |path: &str, name: &str, read_only| Folder {
        path: path.into(),
        name: name.to_owned(),
        read_only,
    };
    let checked = folders(
        r#"["/srv/one",
            {"path":"/srv/two"},
            {"path":"/srv/../three","as":"/data","read_only":true},
            {"as":"//data/./inner/","read_only":false,"path":"/srv/four/"},
            "/"]"#,
    );
    let application = checked.unwrap().config.applications.remove(0);
    let expected = [
        folder("/srv/one", "/srv/one", false),
        folder("/srv/two", "/srv/two", false),
        folder("/srv/../three", "/data", true),
        folder("/srv/four/", "/data/inner", false),
        folder("/", "/", false),
    ];
    assert_eq!(application.access.filesystem, expected);
    assert_eq!(
        application.folder_path(3).to_string(),
        "/applications/a/access/filesystem/3"
    );
}

#[test]
fn an_invalid_folder_is_refused_with_its_path() {
    let absolute = |name: &str, text: &str| {
        format!("The \"{name}\" of a folder must be absolute, but not \"{text}\".")
    };
    let above = |text: &str| {
        format!(
            "Guests would see the folder \"{text}\" under a name with \"..\"; give it another name \
             with \"as\"."
        )
    };
    let kinds = "The \"filesystem\" array must contain only strings, and objects of \"path\", \
                 \"as\" and \"read_only\".";
    let long = format!("/{}", "x".repeat(4095));
    for (folder, place, detail) in [
        (r#""""#, "", "The \"path\" value must not be empty."),
        (r#""srv""#, "", &*absolute("path", "srv")),
        (r#""./srv""#, "", &*absolute("path", "./srv")),
        (
            r#""/a\u0000""#,
            "",
            "The \"path\" value must not contain null character.",
        ),
        (r#""/a/../b""#, "", &above("/a/../b")),
        ("1", "", kinds),
        ("null", "", kinds),
        (r#"["/a"]"#, "", kinds),
        ("{}", "/path", "Required parameter \"path\" is missing."),
        (
            r#"{"path":1}"#,
            "/path",
            "The \"path\" value must be a string, but not an integer number.",
        ),
        (r#"{"path":"srv"}"#, "/path", &absolute("path", "srv")),
        (r#"{"path":"/a/.."}"#, "/path", &above("/a/..")),
        (
            r#"{"path":"/a","as":"data"}"#,
            "/as",
            &absolute("as", "data"),
        ),
        (
            r#"{"path":"/a","as":"/../data"}"#,
            "/as",
            &above("/../data"),
        ),
        (
            r#"{"path":"/a","as":""}"#,
            "/as",
            "The \"as\" value must not be empty.",
        ),
        (
            r#"{"path":"/a","read_only":1}"#,
            "/read_only",
            "The \"read_only\" value must be a boolean, but not an integer number.",
        ),
        (
            &format!(r#""{long}""#),
            "",
            &format!(
                "The \"path\" of a folder must have at most 4095 bytes, but not \"{}…\".",
                &long[..100]
            ),
        ),
    ] {
        refused(
            folders(&format!(r#"["/first",{folder}]"#)),
            &format!("/applications/a/access/filesystem/1{place}"),
            detail,
        );
    }
    refused(
        folders(r#""/srv""#),
        "/applications/a/access/filesystem",
        "The \"filesystem\" value must be an array, but not a string.",
    );
}

#[test]
fn two_folders_with_the_same_name_are_refused() {
    for second in [
        r#""/a""#,
        r#""/a/""#,
        r#""//a/.""#,
        r#"{"path":"/b","as":"/a"}"#,
    ] {
        refused(
            folders(&format!(r#"["/a",{second}]"#)),
            "/applications/a/access/filesystem/1",
            "Guests would see two folders as \"/a\"; give one of them another name with \"as\".",
        );
    }
    // Two views of one folder are no mistake.
    assert!(folders(r#"["/a",{"path":"/a","as":"/b","read_only":true}]"#).is_ok());
}

#[test]
fn the_number_of_folders_is_limited() {
    let many = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("\"/{n}\"")).collect();
        folders(&format!("[{}]", names.join(",")))
    };
    assert!(many(64).is_ok());
    refused(
        many(65),
        "/applications/a/access/filesystem",
        "The \"filesystem\" array must have at most 64 elements, but not 65.",
    );
}

fn outbound(text: &str) -> Result<Checked, ConfigError> {
    application(&format!(r#""access":{{"outbound_http":{text}}}"#))
}

#[test]
fn outgoing_requests_are_granted_one_by_one() {
    let checked = outbound(r#"["https://Api.example.com","http://*.internal:*"]"#).unwrap();
    assert_eq!(checked.warnings, []);
    let policy = &checked.config.applications[0].access.outbound_http;
    let grants: Vec<_> = policy.grants().iter().map(ToString::to_string).collect();
    assert_eq!(grants, ["https://api.example.com", "http://*.internal:*"]);
    for nothing in ["", r#""access":{}"#, r#""access":{"outbound_http":[]}"#] {
        let config = application(nothing).unwrap().config;
        assert!(config.applications[0].access.outbound_http.is_empty());
    }
}

#[test]
fn an_invalid_grant_is_refused_with_a_valid_example() {
    refused(
        outbound(r#"["*","api.example.com"]"#),
        "/applications/a/access/outbound_http/1",
        "invalid grant \"api.example.com\": it must be \"*\" or start with \"http://\" or \
         \"https://\", as \"https://api.example.com\" does.",
    );
    for (element, word) in [
        (r#""""#, "invalid grant"),
        (r#""https://a.example/""#, "end after the host or the port"),
        (r#""https://a.*.example""#, "a wildcard"),
        (r#""https://a.example:0""#, "from 1 to 65535"),
        (r#""https://u@a.example""#, "user info"),
        (r#""http://127.1""#, "four decimal numbers"),
        (r#""ftp://a.example""#, "\"http://\""),
        (r#""* *""#, "invalid grant"),
        ("1", "must contain only strings"),
        (r#"{"host":"a"}"#, "must contain only strings"),
    ] {
        let error = outbound(&format!("[{element}]")).unwrap_err();
        assert_eq!(
            error.path.to_string(),
            "/applications/a/access/outbound_http/0"
        );
        assert!(error.detail.contains(word), "{element}: {error}");
    }
    refused(
        outbound(r#""*""#),
        "/applications/a/access/outbound_http",
        "The \"outbound_http\" value must be an array, but not a string.",
    );
    let many = vec![r#""*""#; 257].join(",");
    refused(
        outbound(&format!("[{many}]")),
        "/applications/a/access/outbound_http",
        "The \"outbound_http\" array must have at most 256 elements, but not 257.",
    );
}
