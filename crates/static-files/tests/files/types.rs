//! MIME types, and `types`.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
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
fn the_configuration_s_types_come_before_unit_s() {
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
fn a_type_that_is_not_accepted_is_forbidden() {
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
fn an_unknown_type_is_the_empty_one() {
    let mut site = site();
    only(&mut site, &[""]);
    assert_eq!(site.status("/file"), 200);
    assert_eq!(site.status("/file.xml"), 403);
}

#[test]
fn the_index_is_not_filtered_and_a_folder_without_its_slash_is() {
    let mut site = site();
    only(&mut site, &["application/xml"]);
    assert_eq!(site.get("/").text(), "index");
    assert_eq!(site.status("/index.html"), 403);
    assert_eq!(site.status("/dir"), 403);
    only(&mut site, &[""]);
    assert_eq!(site.status("/dir"), 301);
}
