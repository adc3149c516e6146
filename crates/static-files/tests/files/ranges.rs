//! RFC 9110, section 14.

use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use static_files::MAX_RANGES;

use crate::support::{Answer, Site};

fn with(range: &str) -> Answer {
    let site = Site::new(&[("a.txt", "0123456789")]);
    site.ask("/a.txt").field(RANGE, range).answer()
}

#[test]
fn one_range_gets_206_with_a_part_of_the_file() {
    for (range, content_range, text) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=8-", "bytes 8-9/10", "89"),
        ("bytes=-1", "bytes 9-9/10", "9"),
        ("bytes=5-500", "bytes 5-9/10", "56789"),
        ("bytes=0-", "bytes 0-9/10", "0123456789"),
        ("bytes=20-, 1-1", "bytes 1-1/10", "1"),
    ] {
        let answer = with(range);
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.field(CONTENT_RANGE), content_range, "{range}");
        assert_eq!(answer.field(CONTENT_TYPE), "text/plain");
        assert_eq!(answer.field(CONTENT_LENGTH), text.len().to_string());
        assert_eq!(answer.text(), text, "{range}");
    }
}

#[test]
fn ranges_after_the_end_get_416_with_the_size() {
    for range in ["bytes=10-", "bytes=-0", "bytes=99-100,-0"] {
        let answer = with(range);
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(answer.field(CONTENT_RANGE), "bytes */10", "{range}");
        assert_eq!(answer.body, b"", "{range}");
        assert_eq!(answer.field(CONTENT_LENGTH), "0");
    }
}

#[test]
fn malformed_ranges_are_ignored() {
    for range in ["bytes=3-2", "octets=0-1", "bytes=x", "0-1", "bytes=0-1,x"] {
        let answer = with(range);
        assert_eq!(answer.status, 200, "{range}");
        assert_eq!(answer.text(), "0123456789", "{range}");
        assert_eq!(answer.field(ACCEPT_RANGES), "bytes");
        assert!(!answer.headers.contains_key(CONTENT_RANGE));
    }
}

#[test]
fn several_ranges_are_multipart_in_the_requested_order() {
    let answer = with("bytes=8-9, 0-1, 50-, 4-4");
    assert_eq!(answer.status, 206);
    assert!(!answer.headers.contains_key(CONTENT_RANGE));
    assert_eq!(answer.field(CONTENT_LENGTH), answer.body.len().to_string());
    let boundary = answer
        .field(CONTENT_TYPE)
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    assert_eq!(
        answer.text(),
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\
             \r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
             \r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 4-4/10\r\n\r\n4\
             \r\n--{boundary}--\r\n"
        )
    );
    let again = with("bytes=8-9, 0-1");
    assert_ne!(answer.field(CONTENT_TYPE), again.field(CONTENT_TYPE));
}

#[test]
fn ranges_longer_than_one_read_are_complete() {
    let text: Vec<u8> = (0..500_000_u32).map(|at| (at % 251) as u8).collect();
    let site = Site::new(&[]);
    site.write("big", &text);
    let answer = site
        .ask("/big")
        .field(RANGE, "bytes=0-199999, 250000-449999")
        .answer();
    assert_eq!(answer.status, 206);
    assert_eq!(answer.field(CONTENT_LENGTH), answer.body.len().to_string());
    let find = |part: &[u8]| answer.body.windows(part.len()).any(|window| window == part);
    assert!(find(&text[..200_000]));
    assert!(find(&text[250_000..450_000]));
    let one = site.ask("/big").field(RANGE, "bytes=70000-300000").answer();
    assert_eq!(one.body, text[70_000..=300_000]);
}

#[test]
fn too_many_or_overlapping_ranges_get_the_whole_file() {
    let many = format!("bytes=0-0{}", ",1-1".repeat(MAX_RANGES));
    assert_eq!(with(&many).status, 200);
    assert_eq!(with("bytes=0-,0-,0-,0-").status, 200);
    let site = Site::new(&[("a.txt", "0123456789")]);
    let twice = site
        .ask("/a.txt")
        .field(RANGE, "bytes=0-0")
        .field(RANGE, "bytes=1-1");
    assert_eq!(twice.answer().status, 200);
}

#[test]
fn an_empty_file_has_no_ranges() {
    let site = Site::new(&[("empty", "")]);
    let with = |range| site.ask("/empty").field(RANGE, range).answer();
    assert_eq!(with("bytes=0-").status, 416);
    assert_eq!(with("bytes=0-").field(CONTENT_RANGE), "bytes */0");
    let suffix = with("bytes=-5");
    assert_eq!(suffix.status, 200);
    assert_eq!(suffix.field(CONTENT_LENGTH), "0");
    assert_eq!(suffix.field(ETAG), "\"2ebc98a1-0\"");
}
