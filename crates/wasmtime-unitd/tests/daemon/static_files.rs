//! `share`: files, folders, and what is behind them.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use test_suite::{Running, configuration};

use crate::support::{Daemon, routed};

/// A folder with a few files.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        // Long ago, so that their tags are strong.
        let modified = SystemTime::now() - Duration::from_secs(60);
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(modified).unwrap();
    };
    file("www/index.html", "index");
    file("www/style.css", "style");
    file("www/data", "no type");
    file("www/sub folder/index.html", "sub");
    file("www/sub folder/own.txt", "own");
    file("secret.txt", "secret");
    folder
}

/// A server with one action on this folder, which is `$` in the text.
fn sharing(folder: &Path, action: &str) -> Running {
    let action = action.replace('@', folder.to_str().unwrap());
    routed(&format!(r#"[{{"action": {action}}}]"#))
}

#[test]
fn clients_may_read_the_servers_own_files_only_with_a_warning() {
    let mut server = Running::idle(&Daemon);
    let state = server.directory().join("state");
    let link = server.directory().join("link");
    symlink(&state, &link).unwrap();
    let above = server.directory().display().to_string();
    let (keys, own) = ("the private keys", "the server's own files");
    for (share, what) in [
        (format!("{above}$uri"), Some(keys)),
        (format!("{above}/$host$uri"), Some(keys)),
        (format!("{above}/link$uri"), Some(keys)),
        (format!("{above}/state/certs/a"), Some(keys)),
        (format!("{above}/state/conf.json"), Some(own)),
        (format!("{above}/www$uri"), None),
        (format!("{above}/state2$uri"), None),
    ] {
        let path = "/routes/0/action/fallback/share: clients can read";
        let action = format!(r#"{{"share": "/nowhere$uri", "fallback": {{"share": "{share}"}}}}"#);
        let (status, answer) = server.put(
            "/config",
            &format!(r#"{{"routes": [{{"action": {action}}}]}}"#),
        );
        assert_eq!(status, 200, "{answer}");
        let expected = what.map(|what| format!("{path} {what} in "));
        assert_eq!(
            answer.contains("warnings"),
            expected.is_some(),
            "{share}: {answer}"
        );
        if let Some(expected) = expected {
            assert!(answer.contains(&expected), "{share}: {answer}");
            server.wait_for_log(&expected);
        }
    }
}

#[test]
fn files_are_served_with_their_types_and_validators() {
    let folder = folder();
    let server = sharing(folder.path(), r#"{"share": "@/www$uri"}"#);
    let mut client = server.connect("main");
    let response = client.get("/style.css");
    response.assert_text("style");
    assert_eq!(response.head.field("content-type"), Some("text/css"));
    assert_eq!(response.head.field("content-length"), Some("5"));
    let tag = response.head.field("etag").unwrap();
    assert!(response.head.field("last-modified").is_some());
    client.get("/").assert_text("index");
    let untyped = client.get("/data");
    untyped.assert_text("no type");
    assert_eq!(untyped.head.field("content-type"), None);

    client.send(format!(
        "GET /style.css HTTP/1.1\r\nhost: a\r\nif-none-match: {tag}\r\n\r\n"
    ));
    assert_eq!(client.response().head.status, 304);
    client.send("GET /style.css HTTP/1.1\r\nhost: a\r\nrange: bytes=1-2\r\n\r\n");
    let part = client.response();
    assert_eq!((part.head.status, part.text()), (206, "ty"));
    client.send("HEAD /style.css HTTP/1.1\r\nhost: a\r\n\r\n");
    let head = client.response_to("HEAD").head;
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("5"))
    );
}

#[test]
fn a_directory_redirects_to_its_slash_and_serves_its_index() {
    let folder = folder();
    let server = sharing(folder.path(), r#"{"share": "@/www$uri"}"#);
    let mut client = server.connect("main");
    let head = client.get("/sub%20folder?a=b").head;
    assert_eq!(head.status, 301);
    assert_eq!(head.field("location"), Some("/sub%20folder/?a=b"));
    client.get("/sub%20folder/").assert_text("sub");
    let server = sharing(
        folder.path(),
        r#"{"share": "@/www$uri", "index": "own.txt"}"#,
    );
    let mut client = server.connect("main");
    client.get("/sub%20folder/").assert_text("own");
    client.get("/").assert_page(404);
}

#[test]
fn an_index_is_filtered_by_types_and_falls_back_as_its_own_uri_does() {
    let folder = folder();
    fs::create_dir(folder.path().join("www/php")).unwrap();
    fs::write(folder.path().join("www/php/index.php"), "source").unwrap();
    let share = r#"{"share": "@/www$uri", "index": "index.php",
        "types": ["!application/x-httpd-php", ""]"#;
    let server = sharing(folder.path(), &format!("{share}}}"));
    let mut client = server.connect("main");
    for uri in ["/php/", "/php/index.php"] {
        client.get(uri).assert_page(403);
    }
    let fallback = format!(r#"{share}, "fallback": {{"return": 418}}}}"#);
    let server = sharing(folder.path(), &fallback);
    let mut client = server.connect("main");
    for uri in ["/php/", "/php/index.php"] {
        assert_eq!(client.get(uri).head.status, 418, "{uri}");
    }
}

#[test]
fn an_etag_tells_a_file_that_is_rewritten_within_the_second() {
    let folder = folder();
    let server = sharing(folder.path(), r#"{"share": "@/www$uri"}"#);
    let mut client = server.connect("main");
    let file = folder.path().join("www/style.css");
    for round in 0..20 {
        fs::write(&file, format!("a{round:04}")).unwrap();
        let response = client.get("/style.css");
        let tag = response.head.field("etag").unwrap().to_owned();
        let text = format!("b{round:04}");
        fs::write(&file, &text).unwrap();
        client.send(format!(
            "GET /style.css HTTP/1.1\r\nhost: a\r\nif-none-match: {tag}\r\n\r\n"
        ));
        client.response().assert_text(&text);
    }
}

#[test]
fn a_missing_file_is_a_404_and_other_methods_are_a_405() {
    let folder = folder();
    let server = sharing(folder.path(), r#"{"share": "@/www$uri"}"#);
    let mut client = server.connect("main");
    client.get("/none").assert_page(404);
    let response = client.post("/style.css", "a");
    assert_eq!(response.head.status, 405);
    assert_eq!(response.head.field("allow"), Some("GET, HEAD"));
    for target in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/a/..%2f../secret.txt",
    ] {
        client.get(target).assert_page(400);
        client = server.connect("main");
    }
}

#[test]
fn several_shares_are_tried_in_order_and_then_the_fallback() {
    let folder = folder();
    let file = test_components::guest("hello");
    let steps = r#"[{"action": {"share": ["@/www$uri", "@$uri"],
        "fallback": {"share": "@/www/style.css", "types": "!text/css",
            "fallback": {"pass": "applications/hello", "response_headers": {"X-By": "fallback"}}}}}]"#;
    let server = Running::start(
        &Daemon,
        &format!(
            r#"{{"listeners": {{"{{main}}": {{"pass": "routes"}}}}, "routes": {},
                "applications": {{"hello": {}}}}}"#,
            steps.replace('@', folder.path().to_str().unwrap()),
            configuration::application(&file, "")
        ),
    );
    let mut client = server.connect("main");
    client.get("/style.css").assert_text("style");
    client.get("/secret.txt").assert_text("secret");
    let response = client.get("/none");
    response.assert_text("Hello, world!\n");
    assert_eq!(response.head.field("x-by"), Some("fallback"));
    client
        .post("/style.css", "a")
        .assert_text("Hello, world!\n");
}

#[test]
fn types_select_which_files_are_served() {
    let folder = folder();
    let server = sharing(
        folder.path(),
        r#"{"share": "@/www$uri", "types": ["text/*", "!text/css"]}"#,
    );
    let mut client = server.connect("main");
    client.get("/index.html").assert_text("index");
    client.get("/style.css").assert_page(403);
    client.get("/data").assert_page(403);
}

#[test]
fn symlinks_are_followed_unless_forbidden() {
    let folder = folder();
    symlink("../secret.txt", folder.path().join("www/link")).unwrap();
    symlink("style.css", folder.path().join("www/inner")).unwrap();
    let get = |action: &str, target: &str| {
        let server = sharing(folder.path(), action);
        server.connect("main").get(target)
    };
    get(r#"{"share": "@/www$uri"}"#, "/link").assert_text("secret");
    let closed = r#"{"share": "@/www$uri", "follow_symlinks": false}"#;
    get(closed, "/link").assert_page(403);
    get(closed, "/style.css").assert_text("style");
    let within = r#"{"share": "@/www$uri", "chroot": "@/www"}"#;
    get(within, "/inner").assert_text("style");
    get(within, "/link").assert_page(404);
    let named = r#"{"share": "@/www$uri", "chroot": "$header_x_root"}"#;
    get(named, "/style.css").assert_page(403);
    // A variable never climbs.
    get(r#"{"share": "@/www/$arg_file"}"#, "/?file=style.css").assert_text("style");
    get(r#"{"share": "@/www/$arg_file"}"#, "/?file=../secret.txt").assert_page(403);
}

#[test]
fn precompressed_siblings_are_an_option() {
    let folder = folder();
    fs::write(folder.path().join("www/style.css.gz"), "packed").unwrap();
    let ask = "GET /style.css HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n";
    for (option, text, coding) in [("false", "style", None), ("true", "packed", Some("gzip"))] {
        let server = sharing(
            folder.path(),
            &format!(r#"{{"share": "@/www$uri", "precompressed": {option}}}"#),
        );
        let mut client = server.connect("main");
        client.send(ask);
        let response = client.response();
        response.assert_text(text);
        assert_eq!(response.head.field("content-encoding"), coding);
        assert_eq!(response.head.field("content-type"), Some("text/css"));
    }
}

#[test]
fn a_large_file_is_served_completely() {
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3_000_000u32).map(|byte| (byte % 251) as u8).collect();
    fs::write(folder.path().join("large"), &content).unwrap();
    let server = sharing(folder.path(), r#"{"share": "@$uri"}"#);
    let response = server.connect("main").get("/large");
    assert_eq!(response.head.status, 200);
    assert!(response.body == content);
}
