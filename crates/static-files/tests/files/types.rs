//! MIME types, and `types`.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use static_files::MimeTypes;

use crate::support::Site;

fn site() -> Site {
    Site::new(&[
        ("file.xml", ".xml"),
        ("file.mp4", ".mp4"),
        ("file.php", ".php"),
        ("file", ""),
        ("index.html", "index"),
        ("dir/a", ""),
    ])
}

fn only(site: &mut Site, types: &'static [&'static str]) {
    site.options.types = Some(Arc::new(|asked| types.contains(&asked)));
}

#[test]
fn a_file_has_the_type_of_its_extension() {
    let site = site();
    assert_eq!(site.get("/file.xml").field(CONTENT_TYPE), "application/xml");
    assert_eq!(site.get("/file.mp4").field(CONTENT_TYPE), "video/mp4");
    assert!(!site.get("/file").headers.contains_key(CONTENT_TYPE));
}

#[test]
fn configured_mime_types_have_precedence_over_units() {
    let mut site = site();
    site.write("README", "");
    let added = [("text/plain", ".xml"), ("text/x-blah/x-blah", "readme")];
    site.options.mime_types = Arc::new(MimeTypes::new(added).unwrap());
    assert_eq!(site.get("/file.xml").field(CONTENT_TYPE), "text/plain");
    assert_eq!(
        site.get("/README").field(CONTENT_TYPE),
        "text/x-blah/x-blah"
    );
    assert_eq!(site.get("/file.mp4").field(CONTENT_TYPE), "video/mp4");
}

#[test]
fn a_mime_type_that_types_does_not_accept_is_forbidden() {
    let mut site = site();
    only(&mut site, &["application/xml"]);
    assert_eq!(site.get("/file.xml").text(), ".xml");
    assert_eq!(site.status("/file.mp4"), 403);
    assert_eq!(site.status("/file"), 403);
    // It is not looked for.
    assert_eq!(site.status("/nothing.mp4"), 403);
    assert_eq!(site.status("/nothing.xml"), 404);
}

#[test]
fn an_unknown_mime_type_is_empty() {
    let mut site = site();
    only(&mut site, &[""]);
    assert_eq!(site.status("/file"), 200);
    assert_eq!(site.status("/file.xml"), 403);
}

#[test]
fn types_hold_for_an_index_as_for_its_own_uri() {
    let mut site = site();
    site.write("php/index.php", "source");
    site.write("php/index.php.gz", "source");
    site.options.precompressed = true;
    for (types, index, expected) in [
        (&["application/xml"][..], "index.html", 403),
        (&["text/html"], "index.html", 200),
        (&["text/html"], "file.xml", 403),
        (&[""], "file", 200),
        (&["text/html"], "file", 403),
    ] {
        only(&mut site, types);
        site.options.index = index.to_owned();
        assert_eq!(site.status("/"), expected, "{types:?} {index}");
        assert_eq!(site.status(format!("/{index}")), expected, "{types:?}");
    }
    site.options.types = Some(Arc::new(|asked| asked != "application/x-httpd-php"));
    site.options.index = "index.php".to_owned();
    for uri in ["/php/", "/php/index.php", "/php//", "/nothing/"] {
        assert_eq!(site.status(uri), 403, "{uri}");
        let coded = site.ask(uri).field(ACCEPT_ENCODING, "gzip").answer();
        assert_eq!(coded.status, 403, "{uri}");
    }
}

#[test]
fn a_folder_without_its_slash_has_no_type() {
    let mut site = site();
    only(&mut site, &["application/xml"]);
    assert_eq!(site.status("/dir"), 403);
    only(&mut site, &[""]);
    assert_eq!(site.status("/dir"), 301);
}

#[test]
fn without_an_index_a_folder_is_still_not_found() {
    let mut site = site();
    only(&mut site, &["text/html"]);
    site.options.index = String::new();
    assert_eq!(site.status("/"), 404);
    assert_eq!(site.status("/dir/"), 404);
}
