//! Siblings with `.br`, `.zst` and `.gz`.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, IF_NONE_MATCH, LAST_MODIFIED, RANGE, VARY,
};

use crate::support::{Answer, MODIFIED, Site};

fn site() -> Site {
    let mut site = Site::new(&[
        ("a.css", "plain"),
        ("a.css.br", "brotli"),
        ("a.css.gz", "gzip it"),
        ("b.css", "alone"),
        ("c.css.gz", "no original"),
        ("index.html", "index"),
        ("index.html.zst", "zstandard"),
    ]);
    site.options.precompressed = true;
    site
}

fn accepting(site: &Site, uri: &str, codings: &str) -> Answer {
    site.ask(uri).field(ACCEPT_ENCODING, codings).answer()
}

#[test]
fn the_best_accepted_precompressed_sibling_is_sent() {
    let site = site();
    for (codings, coding, text) in [
        ("gzip, deflate, br, zstd", "br", "brotli"),
        ("gzip, deflate", "gzip", "gzip it"),
        ("gzip;q=1, br;q=0.9", "gzip", "gzip it"),
        ("*", "br", "brotli"),
        ("zstd, *;q=0.1", "br", "brotli"),
        ("zstd, identity;q=0.1", "", "plain"),
        ("br, identity;q=0", "br", "brotli"),
        ("identity, br;q=0.5", "", "plain"),
        ("br;q=0", "", "plain"),
        ("", "", "plain"),
    ] {
        let answer = accepting(&site, "/a.css", codings);
        assert_eq!(answer.status, 200, "{codings}");
        assert_eq!(answer.text(), text, "{codings}");
        assert_eq!(answer.field(CONTENT_ENCODING), coding, "{codings}");
        assert_eq!(answer.field(CONTENT_TYPE), "text/css", "{codings}");
        assert_eq!(answer.field(CONTENT_LENGTH), text.len().to_string());
        assert_eq!(answer.field(VARY), "Accept-Encoding", "{codings}");
    }
}

#[test]
fn a_client_without_accept_encoding_gets_the_uncompressed_file() {
    let answer = site().get("/a.css");
    assert_eq!(answer.text(), "plain");
    assert_eq!(answer.field(VARY), "Accept-Encoding");
    assert!(!answer.headers.contains_key(CONTENT_ENCODING));
}

#[test]
fn the_index_has_precompressed_siblings_too() {
    let answer = accepting(&site(), "/", "zstd");
    assert_eq!(answer.text(), "zstandard");
    assert_eq!(answer.field(CONTENT_ENCODING), "zstd");
    assert_eq!(answer.field(CONTENT_TYPE), "text/html");
}

#[test]
fn each_coding_has_its_own_etag() {
    let site = site();
    let plain = site.get("/a.css");
    let brotli = accepting(&site, "/a.css", "br");
    assert_eq!(plain.field(ETAG), "\"2ebc98a1-5\"");
    assert_eq!(brotli.field(ETAG), "\"2ebc98a1-6-br\"");
    let again = |codings, tag| {
        let ask = site.ask("/a.css").field(ACCEPT_ENCODING, codings);
        ask.field(IF_NONE_MATCH, tag).answer()
    };
    let known = again("br", brotli.field(ETAG));
    assert_eq!(known.status, 304);
    assert_eq!(known.field(VARY), "Accept-Encoding");
    assert_eq!(again("br", plain.field(ETAG)).status, 200);
    assert_eq!(again("", brotli.field(ETAG)).status, 200);
}

#[test]
fn ranges_are_of_the_precompressed_sibling_that_is_sent() {
    let site = site();
    let ask = site.ask("/a.css").field(ACCEPT_ENCODING, "br");
    let answer = ask.field(RANGE, "bytes=-2").answer();
    assert_eq!(answer.text(), "li");
    assert_eq!(answer.field(CONTENT_RANGE), "bytes 4-5/6");
    assert_eq!(answer.field(CONTENT_ENCODING), "br");
    let ask = site.ask("/a.css").field(ACCEPT_ENCODING, "br");
    let answer = ask.field(RANGE, "bytes=6-").answer();
    assert_eq!(answer.status, 416);
    assert_eq!(answer.field(CONTENT_RANGE), "bytes */6");
    assert!(!answer.headers.contains_key(CONTENT_ENCODING));
}

#[test]
fn a_client_that_accepts_no_existing_coding_gets_406() {
    let site = site();
    assert_eq!(accepting(&site, "/b.css", "identity;q=0").status, 406);
    assert_eq!(accepting(&site, "/b.css", "gzip, *;q=0").status, 406);
    assert_eq!(accepting(&site, "/b.css", "gzip, identity").text(), "alone");
}

#[test]
fn a_precompressed_sibling_without_its_file_is_not_found() {
    let site = site();
    assert_eq!(accepting(&site, "/c.css", "gzip").status, 404);
    assert_eq!(site.get("/c.css.gz").text(), "no original");
}

#[test]
fn a_sibling_older_than_its_file_is_skipped() {
    let site = site();
    site.set_modified("a.css", MODIFIED + 1);
    let answer = accepting(&site, "/a.css", "br, gzip");
    assert_eq!(answer.text(), "plain");
    site.set_modified("a.css.gz", MODIFIED + 2);
    let answer = accepting(&site, "/a.css", "br, gzip");
    assert_eq!(answer.text(), "gzip it");
    assert_eq!(answer.field(LAST_MODIFIED), "Sun, 06 Nov 1994 08:49:39 GMT");
}

#[test]
fn a_sibling_older_by_a_fraction_of_a_second_is_skipped() {
    let site = site();
    let time = |nanoseconds| UNIX_EPOCH + Duration::new(MODIFIED, nanoseconds);
    site.set_modified_at("a.css", time(500));
    site.set_modified_at("a.css.br", time(499));
    site.set_modified_at("a.css.gz", time(501));
    let answer = accepting(&site, "/a.css", "br, gzip");
    assert_eq!(answer.text(), "gzip it");
    assert_eq!(answer.field(ETAG), "\"2ebc98a1.1f5-7-gzip\"");
    // Its tool has left the fraction out.
    site.set_modified_at("a.css.br", time(0));
    assert_eq!(accepting(&site, "/a.css", "br, gzip").text(), "brotli");
}

#[test]
fn a_sibling_that_is_a_folder_or_a_symlink_out_of_the_chroot_is_skipped() {
    let mut site = site();
    site.write("secret", "secret");
    site.write("www/a", "plain");
    std::fs::create_dir(site.path("www/a.br")).unwrap();
    site.link("../secret", "www/a.zst");
    site.link(site.path("secret"), "www/a.gz");
    site.chroot = Some("www".into());
    assert_eq!(accepting(&site, "/www/a", "br, zstd, gzip").text(), "plain");
}

#[test]
fn without_precompressed_siblings_are_ordinary_files() {
    let mut site = site();
    site.options.precompressed = false;
    let answer = accepting(&site, "/a.css", "br, identity;q=0");
    assert_eq!(answer.text(), "plain");
    assert!(!answer.headers.contains_key(VARY));
    let fields: HeaderMap = site.get("/a.css.br").headers;
    assert!(!fields.contains_key(CONTENT_ENCODING));
}
