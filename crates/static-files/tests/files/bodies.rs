//! Bodies, and files that change under them.

use std::fs::{self, File};
use std::io::Write;

use http::header::{CONTENT_LENGTH, RANGE};
use http_body::Body as _;
use http_body_util::BodyExt;
use static_files::{BodyError, NotServed, OpenFiles};

use crate::support::{Site, block_on};

const PIECE: usize = 64 * 1024;

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn files_of_all_sizes_are_complete() {
    let site = Site::new(&[]);
    for length in [
        0,
        1,
        1024,
        PIECE - 1,
        PIECE,
        PIECE + 1,
        3 * PIECE,
        1_000_003,
    ] {
        let text = text(length);
        site.write("a", &text);
        let answer = site.get("/a");
        assert_eq!(answer.field(CONTENT_LENGTH), length.to_string());
        assert!(answer.body == text, "{length}");
    }
}

#[test]
fn a_large_file_comes_in_pieces_of_one_size() {
    let site = Site::new(&[]);
    site.write("a", text(10 * PIECE + 1));
    block_on(async {
        let paths = site.paths(b"/a");
        let mut body = site.ask("/a").of(&paths).await.unwrap().into_body();
        let mut left = (10 * PIECE + 1) as u64;
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(!data.is_empty() && data.len() <= PIECE, "{}", data.len());
            left -= data.len() as u64;
            assert_eq!(body.size_hint().exact(), Some(left));
            assert_eq!(body.is_end_stream(), left == 0);
        }
        assert_eq!(left, 0);
    });
}

#[test]
fn a_small_file_is_read_before_its_head_is_sent() {
    let site = Site::new(&[("a", "before")]);
    block_on(async {
        let paths = site.paths(b"/a");
        let response = site.ask("/a").of(&paths).await.unwrap();
        File::options()
            .write(true)
            .truncate(true)
            .open(site.path("a"))
            .unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "before");
    });
}

/// The bytes received and the error of a file of ten pieces if `change` happens after the first.
fn changed(change: impl FnOnce(&Site), range: Option<&str>) -> (usize, Option<BodyError>) {
    let site = Site::new(&[]);
    site.write("a", text(10 * PIECE));
    block_on(async {
        let mut ask = site.ask("/a");
        if let Some(range) = range {
            ask = ask.field(RANGE, range);
        }
        let mut body = ask.of(&site.paths(b"/a")).await.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let mut length = first.len();
        change(&site);
        loop {
            match body.frame().await {
                Some(Ok(frame)) => length += frame.into_data().unwrap().len(),
                Some(Err(error)) => {
                    assert!(body.frame().await.is_none());
                    assert!(body.is_end_stream());
                    return (length, Some(error));
                }
                None => return (length, None),
            }
        }
    })
}

#[test]
fn a_file_that_shrinks_never_looks_complete() {
    let shrink = |length: u64| {
        move |site: &Site| {
            let file = File::options().write(true).open(site.path("a")).unwrap();
            file.set_len(length).unwrap();
        }
    };
    let (length, error) = changed(shrink(0), None);
    assert_eq!(length, PIECE);
    let Some(BodyError::Shrunk { missing }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(missing, 9 * PIECE as u64);

    let (length, error) = changed(shrink(2 * PIECE as u64 + 5), None);
    assert_eq!(length, 2 * PIECE + 5);
    assert_eq!(
        error.unwrap().to_string(),
        format!(
            "the file was truncated while it was sent; {} bytes are missing",
            8 * PIECE - 5
        )
    );

    // One byte less is enough.
    let (length, error) = changed(shrink(10 * PIECE as u64 - 1), None);
    assert_eq!(length, 10 * PIECE - 1);
    assert!(matches!(error, Some(BodyError::Shrunk { missing: 1 })));

    // A range that lies in what is still there is whole.
    let range = Some("bytes=0-200000");
    let (length, error) = changed(shrink(5 * PIECE as u64), range);
    assert_eq!((length, error.is_none()), (200_001, true));
    let (_, error) = changed(shrink(0), Some("bytes=0-9,100000-200000"));
    assert!(matches!(error, Some(BodyError::Shrunk { .. })));
}

#[test]
fn a_file_that_grows_is_sent_with_its_first_content_length() {
    let grow = |site: &Site| {
        let mut file = File::options().append(true).open(site.path("a")).unwrap();
        file.write_all(&text(PIECE)).unwrap();
    };
    let (length, error) = changed(grow, None);
    assert_eq!((length, error.is_none()), (10 * PIECE, true));
}

#[test]
fn a_file_that_is_replaced_or_removed_is_sent_as_it_was() {
    let replace = |site: &Site| {
        site.write("b", "other");
        fs::rename(site.path("b"), site.path("a")).unwrap();
    };
    let (length, error) = changed(replace, None);
    assert_eq!((length, error.is_none()), (10 * PIECE, true));
    let remove = |site: &Site| fs::remove_file(site.path("a")).unwrap();
    let (length, error) = changed(remove, None);
    assert_eq!((length, error.is_none()), (10 * PIECE, true));
}

#[test]
fn a_file_system_without_nowait_is_read_on_the_blocking_pool() {
    // Files in /proc have no page cache, and say that they are empty; in /sys they say 4096.
    let site = Site::new(&[]);
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Ok(content) = fs::read(path) else {
        eprintln!("skipped: no {path}");
        return;
    };
    let paths = static_files::Paths {
        share: vec![static_files::ExpandedPath::new().literal(path)],
        ..Default::default()
    };
    block_on(async {
        let mut body = site.ask("/").of(&paths).await.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, content);
        // Its size was a lie.
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(matches!(error, BodyError::Shrunk { .. }), "{error}");
    });
}

#[test]
fn bodies_that_are_dropped_close_their_files() {
    let site = Site::new(&[]);
    site.write("a", text(10 * PIECE));
    let open = || {
        let ours = fs::read_dir("/proc/self/fd").unwrap();
        let path = site.path("a");
        ours.filter(|entry| {
            fs::read_link(entry.as_ref().unwrap().path()).ok() == Some(path.clone())
        })
        .count()
    };
    block_on(async {
        let paths = site.paths(b"/a");
        let mut body = site.ask("/a").of(&paths).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        assert_eq!(open(), 1);
        drop(body);
    });
    assert_eq!(open(), 0);
    site.get("/a");
    assert_eq!(open(), 0);
}

#[test]
fn large_files_are_not_served_beyond_the_limit_on_open_files() {
    const MOST: usize = 8;
    let mut site = Site::new(&[("small", "small")]);
    site.write("large", text(2 * PIECE));
    site.open_files = OpenFiles::new(MOST);
    block_on(async {
        let (large, small) = (site.paths(b"/large"), site.paths(b"/small"));
        for _ in 0..2 {
            let mut open = Vec::new();
            let refused = loop {
                match site.ask("/large").of(&large).await {
                    Ok(response) => open.push(response.into_body()),
                    Err(reason) => break reason,
                }
                assert_eq!(site.open_files.open(), open.len());
                assert!(open.len() <= MOST);
            };
            assert!(matches!(refused, NotServed::TooManyOpen), "{refused}");
            assert_eq!(refused.status(), 503);
            assert!(!refused.may_fall_back());
            // A lookup that may have to wait takes three for a moment.
            assert!(open.len() >= MOST - 2, "{}", open.len());
            // What is read and closed at once needs none, as soon as it is in the kernel's caches.
            let mut is_served = false;
            for _ in 0..100 {
                is_served |= site.ask("/small").of(&small).await.is_ok();
            }
            assert!(is_served);
            assert_eq!(site.open_files.open(), open.len());
            // Nor does a file that has been read to its end.
            let mut body = open.pop().unwrap();
            let mut left = 2 * PIECE;
            while left > 0 {
                let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
                left -= piece.len();
            }
            assert_eq!(site.open_files.open(), open.len());
            drop(open);
            assert_eq!(site.open_files.open(), 0);
        }
    });
}

#[test]
fn conditional_and_head_responses_do_not_count_as_open_files() {
    let site = Site::new(&[]);
    site.write("a", text(2 * PIECE));
    block_on(async {
        let paths = site.paths(b"/a");
        let head = site.ask("/a").method(http::Method::HEAD).of(&paths).await;
        let range = site
            .ask("/a")
            .field(RANGE, "bytes=900000-")
            .of(&paths)
            .await;
        let short = site.ask("/a").field(RANGE, "bytes=0-9").of(&paths).await;
        assert_eq!(head.as_ref().unwrap().status(), 200);
        assert_eq!(range.as_ref().unwrap().status(), 416);
        assert_eq!(short.as_ref().unwrap().status(), 206);
        assert_eq!(site.open_files.open(), 0);
    });
}
