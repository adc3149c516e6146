//! Folders without a slash.

use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};

use crate::support::Site;

#[test]
fn a_folder_without_its_slash_is_redirected() {
    let site = Site::new(&[("dir/index.html", "hello")]);
    let answer = site.get("/dir");
    assert_eq!(answer.status, 301);
    assert_eq!(answer.field(LOCATION), "/dir/");
    assert_eq!(answer.field(CONTENT_LENGTH), "0");
    assert!(!answer.headers.contains_key(CONTENT_TYPE));
    assert_eq!(answer.body, b"");
    assert_eq!(site.get("/dir/").text(), "hello");
    assert_eq!(site.ask("/dir").method(Method::HEAD).answer().status, 301);
}

#[test]
fn the_redirect_keeps_the_query() {
    let site = Site::new(&[("dir/a", "")]);
    let of = |query| site.ask("/dir").query(query).answer();
    assert_eq!(of("a=b&c=%2F?").field(LOCATION), "/dir/?a=b&c=%2F?");
    assert_eq!(of("").field(LOCATION), "/dir/");
}

#[test]
fn the_redirect_is_percent_encoded() {
    let site = Site::new(&[("ди р?/a", ""), ("line\r\nfeed/a", "")]);
    assert_eq!(
        site.get("/ди р?").field(LOCATION),
        "/%D0%B4%D0%B8%20%D1%80%3F/"
    );
    assert_eq!(
        site.get("/line\r\nfeed").field(LOCATION),
        "/line%0D%0Afeed/"
    );
}

#[test]
fn the_redirect_never_names_a_host() {
    let site = Site::new(&[("example.org/a", "")]);
    assert_eq!(site.get("//example.org").field(LOCATION), "/example.org/");
}

#[test]
fn the_redirect_is_of_the_path_of_the_request_not_of_the_file() {
    let site = Site::new(&[("dir/a", "")]);
    let answer = site.ask("/other").answer_of(&site.paths(b"/dir"));
    assert_eq!(answer.field(LOCATION), "/other/");
}

#[test]
fn a_symlink_to_a_folder_is_a_folder() {
    let site = Site::new(&[("dir/a", "")]);
    site.link("dir", "link");
    assert_eq!(site.get("/link").field(LOCATION), "/link/");
}
