//! Folders with a slash.

use http::header::CONTENT_TYPE;

use crate::support::Site;

#[test]
fn a_folder_serves_its_index() {
    let site = Site::new(&[("index.html", "0123456789"), ("dir/file", "blah")]);
    for uri in ["/", "//", "/./", "/index.html"] {
        let answer = site.get(uri);
        assert_eq!(answer.text(), "0123456789", "{uri}");
        assert_eq!(answer.field(CONTENT_TYPE), "text/html", "{uri}");
    }
    assert_eq!(site.status("/dir/"), 404);
    assert_eq!(site.status("/index.html/"), 404);
}

#[test]
fn the_index_has_the_type_of_its_own_name() {
    let mut site = Site::new(&[("README", "readme"), ("a.json", "{}")]);
    site.options.index = "a.json".to_owned();
    assert_eq!(site.get("/").field(CONTENT_TYPE), "application/json");
    site.options.index = "README".to_owned();
    assert_eq!(site.get("/").text(), "readme");
    assert!(!site.get("/").headers.contains_key(CONTENT_TYPE));
}

#[test]
fn without_an_index_folders_are_not_found() {
    let mut site = Site::new(&[("index.html", "0123456789")]);
    site.options.index = String::new();
    assert_eq!(site.status("/"), 404);
    assert_eq!(site.status("/index.html"), 200);
}

#[test]
fn an_index_that_is_a_folder_is_not_found() {
    let site = Site::new(&[("index.html/a", "")]);
    assert_eq!(site.status("/"), 404);
}

#[test]
fn the_index_of_the_chroot_itself_is_served() {
    let mut site = Site::new(&[("dir/index.html", "hello")]);
    site.chroot = Some("dir".into());
    assert_eq!(site.get("/dir/").text(), "hello");
}
