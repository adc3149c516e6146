//! `serve()`, with real guests, and an exchange in memory in libunit's place.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot continue must fail"
)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Seek, Write};
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use engine::{Application, Component, Engine, Settings};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use unit_app::{BadRequest, Content, Exchange, Options, RawRequest, ResponseRefused};

/// What an exchange was called with.
#[derive(Debug, Default)]
struct Recorded {
    status: Option<u16>,
    fields: HeaderMap,
    body: Vec<u8>,
    /// The head was sent together with the end.
    in_one: bool,
    writes: usize,
    finished: bool,
    dropped: bool,
    asked_for_content: usize,
}

/// An exchange in memory.
struct Fake {
    seen: Rc<RefCell<Recorded>>,
    method: &'static str,
    target: String,
    field: (&'static str, &'static str),
    length: u64,
    content: VecDeque<Content>,
    /// So many polls of `poll_head` and `poll_write` find no memory, and wake the task at once.
    waits: usize,
    /// After so many bytes nothing is written any more, and no task is woken.
    stuck_after: usize,
    control: Rc<RefCell<Control>>,
}

/// How a test reaches into a running exchange.
#[derive(Default)]
struct Control {
    cancelled: bool,
    waker: Option<Waker>,
}

impl Fake {
    fn get(target: &str) -> Self {
        Self {
            seen: Rc::default(),
            method: "GET",
            target: target.to_owned(),
            field: ("host", "localhost"),
            length: 0,
            content: VecDeque::new(),
            waits: 0,
            stuck_after: usize::MAX,
            control: Rc::default(),
        }
    }

    fn post(length: u64, content: impl IntoIterator<Item = Content>) -> Self {
        let mut fake = Self::get("/");
        fake.method = "POST";
        fake.length = length;
        fake.content.extend(content);
        fake
    }

    fn no_memory(&mut self, cx: &Context<'_>) -> bool {
        let Some(left) = self.waits.checked_sub(1) else {
            return false;
        };
        self.waits = left;
        cx.waker().wake_by_ref();
        true
    }
}

impl Exchange for Fake {
    fn request(&self) -> Result<Parts, BadRequest> {
        RawRequest {
            method: self.method.as_bytes(),
            target: self.target.as_bytes(),
            version: b"HTTP/1.1",
            server_name: b"localhost",
            tls: false,
            fields: [(self.field.0.as_bytes(), self.field.1.as_bytes())].into_iter(),
        }
        .into_parts()
    }

    fn content_length(&self) -> u64 {
        self.length
    }

    fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut control = self.control.borrow_mut();
        control.waker = Some(cx.waker().clone());
        if control.cancelled {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn poll_content(&mut self, _: &mut Context<'_>) -> Poll<Content> {
        self.seen.borrow_mut().asked_for_content += 1;
        match self.content.pop_front() {
            Some(content) => Poll::Ready(content),
            None => Poll::Pending,
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        status: StatusCode,
        fields: &HeaderMap,
        content: &[u8],
        last: bool,
    ) -> Poll<Result<(), ResponseRefused>> {
        if self.no_memory(cx) {
            return Poll::Pending;
        }
        let mut seen = self.seen.borrow_mut();
        assert_eq!(seen.status.replace(status.as_u16()), None, "one head");
        seen.fields = fields.clone();
        seen.body.extend_from_slice(content);
        seen.in_one = last;
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, ResponseRefused>> {
        if self.no_memory(cx) || self.seen.borrow().body.len() >= self.stuck_after {
            return Poll::Pending;
        }
        let mut seen = self.seen.borrow_mut();
        assert!(seen.status.is_some() && !seen.in_one, "a head comes first");
        let length = data.len().min(1000);
        seen.body.extend_from_slice(&data[..length]);
        seen.writes += 1;
        Poll::Ready(Ok(length))
    }

    fn finish(self) {
        self.seen.borrow_mut().finished = true;
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.seen.borrow_mut().dropped = true;
    }
}

fn application(guest: &str) -> Application {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
        let options = engine::Options {
            instances: 32,
            ..engine::Options::default()
        };
        Engine::new(&options).unwrap()
    });
    let component = Component::load(&ENGINE, &test_components::guest(guest)).unwrap();
    Application::new(ENGINE.clone(), component, Settings::new(guest))
}

fn options() -> Options {
    Options::take(&mut Vec::new(), None).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, future).await.expect("in time")
    })
}

/// Serves one request to its end.
fn serve(guest: &str, fake: Fake) -> Recorded {
    serve_with(guest, fake, &options())
}

fn serve_with(guest: &str, fake: Fake, options: &Options) -> Recorded {
    let seen = Rc::clone(&fake.seen);
    block_on(unit_app::serve(&application(guest), fake, options));
    assert!(seen.borrow().dropped, "the exchange is dropped");
    Rc::into_inner(seen).unwrap().into_inner()
}

fn piece(bytes: &'static [u8]) -> Content {
    Content::Piece(Bytes::from_static(bytes))
}

#[test]
fn a_small_response_is_sent_in_one_message() {
    let seen = serve("hello", Fake::get("/"));
    assert_eq!(
        (seen.status, &*seen.body),
        (Some(200), &b"Hello, world!\n"[..])
    );
    assert!(seen.in_one && seen.finished);
    assert_eq!((seen.writes, seen.asked_for_content), (0, 0));
}

#[test]
fn a_response_without_content_length_gets_one_if_it_is_known() {
    let seen = serve("counter", Fake::get("/"));
    assert_eq!(seen.body, b"1\n");
    assert_eq!(seen.fields["content-length"], "2");
    let seen = serve("download", Fake::get("/?100000"));
    assert_eq!(seen.body.len(), 100_000);
    assert!(!seen.in_one && seen.finished);
}

#[test]
fn a_failure_before_the_head_is_an_error_page_with_its_length() {
    for (guest, target, status) in [
        ("trap", "/", 500),
        ("no_response", "/", 500),
        ("error_code", "/?connection-refused", 502),
        ("status", "/?103", 500),
    ] {
        let seen = serve(guest, Fake::get(target));
        assert_eq!(seen.status, Some(status), "{guest}");
        assert!(seen.finished && seen.in_one, "{guest}");
        let length = seen.body.len().to_string();
        assert_eq!(seen.fields["content-length"], &*length, "{guest}");
        assert_eq!(seen.fields["content-type"], "text/html", "{guest}");
    }
}

#[test]
fn a_failure_after_the_head_leaves_the_exchange_unfinished() {
    for (guest, target) in [
        ("trap_after_headers", "/?20"),
        ("unfinished", "/?leak&20"),
        ("unfinished", "/?drop&20"),
        ("short_length", "/?drop&20"),
        ("long_length", "/?20"),
    ] {
        let seen = serve(guest, Fake::get(target));
        assert_eq!((seen.status, seen.finished), (Some(200), false), "{guest}");
    }
}

/// On a loaded machine, the guest's turn may end between its head and its failure.
#[test]
fn a_failure_around_the_head_is_an_error_page_or_unfinished() {
    let seen = serve("short_length", Fake::get("/?finish"));
    match seen.status {
        Some(200) => assert!(!seen.finished),
        status => assert_eq!((status, seen.finished), (Some(500), true)),
    }
}

#[test]
fn a_head_request_gets_no_body_from_guests_or_error_pages() {
    for (guest, status) in [("hello", 200), ("trap", 500)] {
        let mut fake = Fake::get("/");
        fake.method = "HEAD";
        let seen = serve(guest, fake);
        assert_eq!((seen.status, seen.body.len()), (Some(status), 0), "{guest}");
        assert!(seen.finished, "{guest}");
    }
}

#[test]
fn invalid_targets_and_fields_are_answered_with_400() {
    let seen = serve("hello", Fake::get("/a b"));
    assert_eq!((seen.status, seen.finished), (Some(400), true));
    let mut fake = Fake::get("/");
    fake.field = ("a", "b\nc");
    assert_eq!(serve("hello", fake).status, Some(400));
}

#[test]
fn content_arrives_in_unit_s_pieces() {
    let fake = Fake::post(6, [piece(b"ab"), piece(b""), piece(b"c"), piece(b"def")]);
    let seen = serve("count", fake);
    assert_eq!(seen.body, b"6\n");
    assert!(seen.asked_for_content <= 4);
}

#[test]
fn no_more_content_is_read_than_the_guest_asks_for() {
    let pieces = (0..100).map(|_| piece(&[b'x'; 1000]));
    let seen = serve("early", Fake::post(100_000, pieces));
    assert!(seen.finished);
    // Not more than a guest may retain of it when its request is done.
    assert!(seen.asked_for_content <= 66, "{}", seen.asked_for_content);
}

#[test]
fn content_in_a_file_is_read_from_the_file_s_position() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![b'x'; 1_000_000]).unwrap();
    file.seek(std::io::SeekFrom::Start(1)).unwrap();
    let file: File = file;
    let fake = Fake::post(1_000_000, [piece(b"y"), Content::File(file)]);
    let seen = serve("count", fake);
    assert_eq!(seen.body, b"1000000\n");
}

#[test]
fn content_that_ends_early_is_not_taken_for_complete() {
    let seen = serve("count", Fake::post(6, [piece(b"ab"), Content::End]));
    assert_eq!((seen.status, seen.finished), (Some(500), true));
    let seen = serve("echo", Fake::post(6, [piece(b"ab"), Content::End]));
    assert!(!seen.finished || seen.status != Some(200), "{seen:?}");
}

#[test]
fn back_pressure_a_response_waits_for_memory_and_continues() {
    let mut fake = Fake::get("/?5000");
    fake.waits = 7;
    let seen = serve("download", fake);
    assert_eq!((seen.body.len(), seen.finished), (5000, true));
}

#[test]
fn a_request_that_unit_gives_up_cancels_its_guest() {
    let application = application("sleep");
    let fake = Fake::get("/?60000");
    let (seen, control) = (Rc::clone(&fake.seen), Rc::clone(&fake.control));
    let options = options();
    block_on(async {
        let cancel = async {
            while application.active() == 0 {
                tokio::task::yield_now().await;
            }
            let mut control = control.borrow_mut();
            control.cancelled = true;
            control.waker.take().unwrap().wake();
        };
        tokio::join!(unit_app::serve(&application, fake, &options), cancel);
    });
    let seen = seen.borrow();
    assert_eq!(
        (seen.status, seen.finished, seen.dropped),
        (None, false, true)
    );
    assert_eq!(application.active(), 0);
}

#[test]
fn a_response_that_takes_too_long_is_cut_off() {
    let short = Some(Duration::from_millis(100));
    let mut endless = options();
    endless.response_timeout = short;
    let mut silent = options();
    silent.progress_timeout = short;
    for options in [endless, silent] {
        // A client that reads nothing after the first bytes.
        let mut fake = Fake::get("/?1000000");
        fake.stuck_after = 2000;
        let seen = serve_with("download", fake, &options);
        assert_eq!((seen.status, seen.finished), (Some(200), false));
        // A guest that writes nothing more.
        let seen = serve_with("spin", Fake::get("/?after"), &options);
        assert_eq!((seen.status, seen.finished), (Some(200), false));
    }
}

#[test]
fn many_requests_share_a_thread() {
    let application = application("sleep");
    let options = options();
    let fakes: Vec<Fake> = (0..10).map(|_| Fake::get("/?50")).collect();
    let seen: Vec<_> = fakes.iter().map(|fake| Rc::clone(&fake.seen)).collect();
    block_on(async {
        let mut all = Vec::new();
        for fake in fakes {
            all.push(Box::pin(unit_app::serve(&application, fake, &options)));
        }
        for one in all {
            one.await;
        }
    });
    assert!(seen.iter().all(|seen| seen.borrow().body == b"slept\n"));
}
