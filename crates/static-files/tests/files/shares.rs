//! Lists of paths, methods, and what each failure is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use http::Method;
use http::header::CONTENT_LENGTH;
use static_files::{ExpandedPath, NotServed, Paths};

use crate::support::{Site, block_on};

fn share(paths: &[&std::path::Path]) -> Paths {
    let literal = |path: &&std::path::Path| ExpandedPath::new().literal(path.to_str().unwrap());
    Paths {
        share: paths.iter().map(literal).collect(),
        ..Paths::default()
    }
}

#[test]
fn the_first_path_that_exists_is_served() {
    let site = Site::new(&[("a/x", "1"), ("b/x", "2"), ("b/y", "3"), ("b/dir/z", "")]);
    let of = |name: &str| {
        let (a, b) = (site.path("a").join(name), site.path("b").join(name));
        site.ask("/dir").answer_of(&share(&[&a, &b]))
    };
    assert_eq!(of("x").text(), "1");
    assert_eq!(of("y").text(), "3");
    assert_eq!(of("dir").status, 301);
    assert_eq!(of("z").status, 404);
    assert_eq!(site.ask("/").answer_of(&Paths::default()).status, 404);
    assert_eq!(site.ask("/").answer_of(&share(&["".as_ref()])).status, 404);
}

#[test]
fn if_all_paths_fail_the_last_error_counts() {
    let mut site = Site::new(&[("a", "")]);
    site.options.follow_symlinks = false;
    site.link("a", "link");
    let (link, nothing) = (site.path("link"), site.path("nothing"));
    let status = |paths: &[&std::path::Path]| site.ask("/").answer_of(&share(paths)).status;
    assert_eq!(status(&[&link, &nothing]), 404);
    assert_eq!(status(&[&nothing, &link]), 403);
    assert_eq!(status(&[&link, &nothing, &site.path("a")]), 200);
}

#[test]
fn a_fallback_applies_to_missing_and_forbidden_files() {
    let site = Site::new(&[("a", "")]);
    let reason = |method: Method, uri: &str| {
        let paths = site.paths(uri.as_bytes());
        block_on(site.ask(uri).method(method).of(&paths)).unwrap_err()
    };
    for method in [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::from_bytes(b"get").unwrap(),
    ] {
        let reason = reason(method, "/a");
        assert!(matches!(reason, NotServed::MethodNotAllowed));
        assert_eq!(reason.status(), 405);
        assert!(reason.may_fall_back());
    }
    let nothing = reason(Method::GET, "/b");
    assert_eq!(nothing.status(), 404);
    assert!(nothing.may_fall_back());
    let climbs = reason(Method::HEAD, "/../a");
    assert_eq!(climbs.status(), 403);
    assert!(climbs.may_fall_back());
    let failed = NotServed::Failed(std::io::Error::from_raw_os_error(24));
    assert_eq!(failed.status(), 500);
    assert!(!failed.may_fall_back());
}

#[test]
fn a_head_has_the_fields_and_no_body() {
    let site = Site::new(&[("a", "hello"), ("empty", "")]);
    let answer = site.ask("/a").method(Method::HEAD).answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field(CONTENT_LENGTH), "5");
    assert_eq!(answer.body, b"");
    let get = site.get("/a");
    assert_eq!(get.headers, answer.headers);
    assert_eq!(site.get("/empty").field(CONTENT_LENGTH), "0");
}

#[test]
fn pipes_sockets_and_devices_are_not_found_and_do_not_block() {
    let site = Site::new(&[]);
    let made = std::process::Command::new("mkfifo")
        .arg(site.path("fifo"))
        .status();
    assert!(made.unwrap().success());
    let _listener = UnixListener::bind(site.path("socket")).unwrap();
    let other = |path: &str| site.ask("/").answer_of(&share(&[path.as_ref()])).status;
    let started = std::time::Instant::now();
    assert_eq!(site.status("/fifo"), 404);
    assert_eq!(site.status("/socket"), 404);
    assert_eq!(other("/dev/null"), 404);
    assert_eq!(other("/dev/zero"), 404);
    assert_eq!(other("/dev/tty"), 404);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn hidden_and_odd_file_names_are_served() {
    let names = [
        "a b", " a ", "a\\b", "a\nb", "ф а", "%2e%2e", "...", ".hidden", "*", "a?b#c", "-", "~",
    ];
    let site = Site::new(&[]);
    for name in names {
        site.write(name, name);
    }
    for name in names {
        assert_eq!(site.get(format!("/{name}")).text(), name);
    }
    let name = OsStr::from_bytes(b"\xff\xfe");
    std::fs::write(site.folder.path().join(name), "bytes").unwrap();
    assert_eq!(site.get(b"/\xff\xfe").text(), "bytes");
}

#[test]
fn invalid_file_names_are_not_found() {
    let site = Site::new(&[("a", "a"), ("a.txt", "")]);
    assert_eq!(site.status("/a\0"), 404);
    assert_eq!(site.status("/a\0.txt"), 404);
    assert_eq!(site.status("/\0"), 404);
    for length in [255, 256, 4095, 4096, 100_000] {
        assert_eq!(site.status(format!("/{}", "a".repeat(length))), 404);
        assert_eq!(site.status("/a".repeat(length / 2)), 404);
    }
    assert_eq!(site.status("/a/b"), 404);
}

#[test]
fn a_file_without_read_permission_is_forbidden() {
    let site = Site::new(&[("a", ""), ("dir/a", "")]);
    let lock = |name| {
        let mode = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(site.path(name), mode).unwrap();
    };
    lock("a");
    lock("dir");
    if std::fs::read(site.path("a")).is_ok() {
        eprintln!("skipped: root may read everything");
    } else {
        assert_eq!(site.status("/a"), 403);
        assert_eq!(site.status("/dir"), 403);
        assert_eq!(site.status("/dir/a"), 403);
    }
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(site.path("dir"), mode).unwrap();
}

#[test]
fn shares_and_bodies_are_send() {
    fn moves<T: Send + 'static>(_: &T) {}
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let site = Site::new(&[("a", "hello")]);
    let paths = site.paths(b"/a");
    let response = block_on(is_send(site.ask("/a").of(&paths))).unwrap();
    moves(&response);
}

#[test]
fn a_relative_path_begins_in_the_working_folder() {
    let site = Site::new(&[]);
    let status = |path: &str, chroot: &str| {
        let paths = Paths {
            share: vec![ExpandedPath::new().literal(path)],
            chroot: ExpandedPath::new().literal(chroot),
        };
        site.ask("/").answer_of(&paths).status
    };
    // Tests run in the folder of their package.
    assert_eq!(status("./Cargo.toml", ""), 200);
    assert_eq!(status("Cargo.toml", ""), 200);
    assert_eq!(status("./Cargo.toml", "."), 200);
    assert_eq!(status("src/lib.rs", "src"), 200);
    assert_eq!(status("Cargo.toml", "."), 403);
    assert_eq!(status("/etc/passwd", "."), 403);
}
