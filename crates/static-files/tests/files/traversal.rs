//! Path traversal, symlinks and races: nothing leaves a share.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use static_files::{ExpandedPath, Paths};

use crate::support::{Answer, Site};

const SECRET: &str = "secret";

/// `www/` is served, and `secret` lies beside it, as well as in `www-other/`.
fn site() -> Site {
    Site::new(&[
        ("secret", SECRET),
        ("www-other/secret", SECRET),
        ("www/index.html", "public"),
        ("www/dir/file", "public"),
        ("www/dir/deep/file", "public"),
    ])
}

/// `FOLDER/www` and the value of a variable behind it.
fn www(site: &Site, variable: &str, chroot: bool) -> Paths {
    let root = site.path("www");
    let root = ExpandedPath::new().literal(root.to_str().unwrap());
    Paths {
        share: vec![root.clone().variable(variable)],
        chroot: if chroot { root } else { ExpandedPath::new() },
    }
}

fn is_not_secret(answer: &Answer, spelling: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert!(!text.contains(SECRET), "{spelling:?} leads to the secret");
    let is_public = answer.status == 200 && text == "public";
    assert!(
        is_public || [301, 403, 404].contains(&answer.status),
        "{spelling:?}: {} {text}",
        answer.status
    );
}

/// Some hundred ways to spell the way up, as they are after decoding, and before it.
fn spellings(site: &Site) -> Vec<String> {
    let mut spellings = Vec::new();
    let ups = [
        "..",
        "../",
        "/..",
        "./..",
        ".././",
        "..//",
        "...",
        "....",
        ". .",
        ".. ",
        " ..",
        "..\\",
        "\\..",
        "..;",
        "..\0",
        "\0..",
        "%2e%2e",
        "%2E.",
        ".%2e",
        "..%2f",
        "..%5c",
        "%252e%252e",
        "..%00",
        "%c0%ae%c0%ae",
        "\u{2025}",
        "\u{ff0e}\u{ff0e}",
        "..\r\n",
        "..?",
        "..#",
    ];
    let before = [
        "/",
        "",
        "//",
        "/dir/",
        "/dir/deep/",
        "/./",
        "/nothing/",
        "/index.html/",
    ];
    for up in ups {
        for before in before {
            for times in 1..4 {
                let climb = format!("{up}/").repeat(times);
                spellings.push(format!("{before}{climb}secret"));
                spellings.push(format!("{before}{climb}www-other/secret"));
            }
        }
    }
    let absolute = site.path("secret");
    let absolute = absolute.to_str().unwrap();
    for before in [
        "",
        "/",
        "//",
        "/dir/",
        "/dir//",
        "file://",
        "/..",
        "-other/../",
    ] {
        spellings.push(format!("{before}{absolute}"));
    }
    spellings.extend(["-other/secret", "-other//secret", "/../www-other/secret"].map(String::from));
    spellings
}

#[test]
fn no_spelling_of_path_traversal_leaves_the_folder() {
    let site = site();
    let spellings = spellings(&site);
    assert!(spellings.len() > 1000);
    for spelling in &spellings {
        // `-other` is another folder of a share that ends within a name, and only `chroot` has a
        // say about that.
        let within_a_name = spelling.starts_with("-other");
        for chroot in [false, true] {
            if within_a_name && !chroot {
                continue;
            }
            let answer = site.ask("/").answer_of(&www(&site, spelling, chroot));
            is_not_secret(&answer, spelling);
        }
    }
}

#[test]
fn a_chroot_confines_dot_segments_of_the_configuration() {
    let site = site();
    for spelling in spellings(&site) {
        let root = site.path("www");
        let root = ExpandedPath::new().literal(root.to_str().unwrap());
        let paths = Paths {
            share: vec![root.clone().literal(&spelling)],
            chroot: root,
        };
        is_not_secret(&site.ask("/").answer_of(&paths), &spelling);
    }
    // They end at the folder, as if it were the root.
    let root = site.path("www");
    let root = ExpandedPath::new().literal(root.to_str().unwrap());
    let paths = Paths {
        share: vec![root.clone().literal("/../../dir/../../index.html")],
        chroot: root,
    };
    assert_eq!(site.ask("/").answer_of(&paths).text(), "public");
}

#[test]
fn a_variable_cannot_add_path_traversal_to_the_chroot() {
    let site = site();
    let root = ExpandedPath::new().literal(site.path("www/").to_str().unwrap());
    let paths = Paths {
        share: vec![root.clone().literal("../secret")],
        chroot: root.variable(".."),
    };
    assert_eq!(site.ask("/").answer_of(&paths).status, 403);
}

#[test]
fn no_symlink_leaves_a_chroot() {
    let site = site();
    let secret = site.path("secret");
    site.link(&secret, "www/absolute");
    site.link("../secret", "www/relative");
    site.link("../../../../../../../../../../etc/passwd", "www/far");
    site.link(site.folder.path(), "www/folder");
    site.link("..", "www/up");
    site.link("absolute", "www/twice");
    site.link("/proc/self/root", "www/root");
    site.link("loop", "www/loop");
    site.link("/index.html", "www/dir/inside");
    for (uri, status) in [
        ("/absolute", 404),
        ("/relative", 404),
        ("/far", 404),
        ("/folder/secret", 404),
        ("/folder", 404),
        ("/up/secret", 404),
        ("/up/up/up/secret", 404),
        ("/up/index.html", 200),
        ("/twice", 404),
        ("/root/etc/passwd", 404),
        ("/loop", 403),
        ("/dir/inside", 200),
    ] {
        let answer = site.ask("/").answer_of(&www(&site, uri, true));
        is_not_secret(&answer, uri);
        assert_eq!(answer.status, status, "{uri}");
    }
    // As in Unit, they are followed without one.
    let answer = site.ask("/").answer_of(&www(&site, "/absolute", false));
    assert_eq!(answer.text(), SECRET);
}

#[test]
fn magic_symlinks_of_proc_do_not_leave_a_chroot() {
    let site = site();
    let secret = site.path("secret");
    let held = fs::File::open(&secret).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&held);
    for name in [
        format!("/root{}", secret.display()),
        "/cwd/Cargo.toml".to_owned(),
        format!("/fd/{number}"),
        "/exe".to_owned(),
    ] {
        let root = ExpandedPath::new().literal("/proc/self");
        let paths = Paths {
            share: vec![root.clone().variable(&name)],
            chroot: root,
        };
        assert_eq!(site.ask("/").answer_of(&paths).status, 403, "{name}");
    }
}

#[test]
fn without_follow_symlinks_every_symlink_is_forbidden() {
    let mut site = site();
    site.link("index.html", "www/link");
    site.link("dir", "www/folder");
    site.link("www", "alias");
    let status = |site: &Site, uri: &str, chroot| {
        let answer = site.ask("/").answer_of(&www(site, uri, chroot));
        is_not_secret(&answer, uri);
        answer.status
    };
    assert_eq!(status(&site, "/link", false), 200);
    site.options.follow_symlinks = false;
    for chroot in [false, true] {
        assert_eq!(status(&site, "/link", chroot), 403);
        assert_eq!(status(&site, "/folder/file", chroot), 403);
        assert_eq!(status(&site, "/folder/", chroot), 403);
        assert_eq!(status(&site, "/index.html", chroot), 200);
    }
    // A chroot is found through links, all the same.
    let alias = ExpandedPath::new().literal(site.path("alias").to_str().unwrap());
    let mut paths = Paths {
        share: vec![alias.clone().variable("/index.html")],
        chroot: alias,
    };
    assert_eq!(site.ask("/").answer_of(&paths).status, 200);
    paths.chroot = ExpandedPath::new();
    assert_eq!(site.ask("/").answer_of(&paths).status, 403);
}

#[test]
fn without_traverse_mounts_another_file_system_is_forbidden() {
    let mut site = site();
    let of = |site: &Site, path: &str, chroot: &str| {
        let paths = Paths {
            share: vec![ExpandedPath::new().literal(path)],
            chroot: ExpandedPath::new().literal(chroot),
        };
        site.ask("/").answer_of(&paths).status
    };
    assert_eq!(of(&site, "/proc/version", ""), 200);
    assert_eq!(of(&site, "/proc/version", "/"), 200);
    site.options.traverse_mounts = false;
    assert_eq!(of(&site, "/proc/version", ""), 403);
    assert_eq!(of(&site, "/proc/version", "/"), 403);
    // A chroot may lie anywhere: what counts begins there.
    assert_eq!(of(&site, "/proc/version", "/proc"), 200);
    site.link("/proc", "www/proc");
    let chroot = site.path("www");
    let answer = site.ask("/").answer_of(&www(&site, "/proc/version", false));
    assert_eq!(answer.status, 403, "{}", chroot.display());
}

/// `/dev/shm` is mounted below `/dev`, which is all that this needs.
#[test]
fn a_mount_below_the_chroot_is_crossed_only_with_traverse_mounts() {
    let mut site = site();
    let Ok(mounted) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("skipped: nothing may be written to /dev/shm");
        return;
    };
    fs::write(mounted.path().join("index.html"), "mounted").unwrap();
    let of = |site: &Site| {
        let path = ExpandedPath::new().literal(mounted.path().to_str().unwrap());
        let paths = Paths {
            share: vec![path.literal("/")],
            chroot: ExpandedPath::new().literal("/dev"),
        };
        site.ask("/").answer_of(&paths)
    };
    assert_eq!(of(&site).text(), "mounted");
    site.options.traverse_mounts = false;
    assert_eq!(of(&site).status, 403);
}

/// A thread swaps a folder for a link to where the secret is, as fast as it can.
#[test]
fn no_symlink_race_leaves_a_chroot() {
    let site = site();
    fs::create_dir_all(site.path("www/swap/in")).unwrap();
    fs::create_dir_all(site.path("outside/in")).unwrap();
    fs::write(site.path("www/swap/in/secret"), "public").unwrap();
    fs::write(site.path("outside/in/secret"), SECRET).unwrap();
    site.link(site.path("outside"), "www/link");

    let stop = AtomicBool::new(false);
    let (mut public, mut rounds) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (from, to) in [
                    ("www/swap", "www/kept"),
                    ("www/link", "www/swap"),
                    ("www/swap", "www/link"),
                    ("www/kept", "www/swap"),
                ] {
                    fs::rename(site.path(from), site.path(to)).unwrap();
                }
            }
        });
        // Walks that go down and up again are those that a rename disturbs.
        let uris = [
            "/swap/in/secret",
            "/dir/../swap/in/../in/secret",
            "/swap/in/../../swap/in/secret",
        ];
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end && rounds < 60_000 {
            for uri in uris {
                let root = site.path("www");
                let root = ExpandedPath::new().literal(root.to_str().unwrap());
                let paths = Paths {
                    share: vec![root.clone().literal(uri)],
                    chroot: root,
                };
                let answer = site.ask("/").answer_of(&paths);
                // A walk that is disturbed again and again is given up.
                if answer.status != 500 {
                    is_not_secret(&answer, uri);
                }
                public += u32::from(answer.status == 200);
            }
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(public > 0, "in {rounds} rounds nothing was served");
}

/// The same without `chroot`, where links are not followed.
#[test]
fn no_race_makes_a_forbidden_symlink_be_followed() {
    let mut site = site();
    site.options.follow_symlinks = false;
    fs::write(site.path("www/swap"), "public").unwrap();
    site.link(site.path("secret"), "www/link");
    let stop = AtomicBool::new(false);
    let mut public = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (from, to) in [
                    ("www/swap", "www/kept"),
                    ("www/link", "www/swap"),
                    ("www/swap", "www/link"),
                    ("www/kept", "www/swap"),
                ] {
                    fs::rename(site.path(from), site.path(to)).unwrap();
                }
            }
        });
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            let answer = site.ask("/").answer_of(&www(&site, "/swap", false));
            is_not_secret(&answer, "/swap");
            public += u32::from(answer.status == 200);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(public > 0, "nothing was served");
}
