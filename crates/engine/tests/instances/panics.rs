//! Panics of the host while it works for a guest. Such a panic is a defect, and must cost one request.

use std::future::Future as _;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use engine::{
    Application, Component, CutOff, Failure, FailureKind, Instances, RequestBodyError, RequestId,
    Settings,
};
use http::Request;
use http_body::Frame;
use http_body_util::BodyExt as _;
use test_components::World;
use tokio::sync::oneshot;

use super::{engine, run, until};

const DEFECT: &str = "a defect of the host";

/// A request body of four bytes that waits until it is released: then it ends, or panics under the guest
/// that reads it.
struct Body {
    piece: Option<Bytes>,
    release: Option<oneshot::Receiver<()>>,
    panics: bool,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Some(piece) = self.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(release) = &mut self.release {
            ready!(Pin::new(release).poll(cx)).unwrap();
            self.release = None;
        }
        assert!(!self.panics, "{DEFECT}");
        Poll::Ready(None)
    }
}

fn request(panics: bool) -> Request<Body> {
    let (release, request) = held_request(panics);
    release.send(()).unwrap();
    request
}

/// A request whose body waits until it is released.
fn held_request(panics: bool) -> (oneshot::Sender<()>, Request<Body>) {
    let (release, receiver) = oneshot::channel();
    let body = Body {
        piece: Some(Bytes::from_static(b"four")),
        release: Some(receiver),
        panics,
    };
    (
        release,
        Request::post("http://localhost/").body(body).unwrap(),
    )
}

/// The application of a guest whose instances serve so many requests, and so many at a time.
fn application(world: World, guest: &str, reuse: u32, concurrency: u32) -> Application {
    let engine = engine(4);
    let component = Component::load(&engine, &world.guest(guest)).unwrap();
    let settings = Settings {
        instances: Instances {
            reuse: NonZeroU32::new(reuse).unwrap(),
            concurrency: NonZeroU32::new(concurrency).unwrap(),
        },
        ..Settings::new(guest)
    };
    Application::new(engine, component, settings)
}

async fn send(application: &Application, request: Request<Body>) -> Result<String, Failure> {
    let response = application.handle(RequestId::next(), request).await?;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[track_caller]
fn assert_panicked(answer: Result<String, Failure>, what: &str) {
    let failure = answer.err().unwrap();
    let is_defect = matches!(&failure, Failure::Panic(message) if message.contains(DEFECT));
    assert!(is_defect, "{what}: {failure}");
    assert_eq!(failure.answer().status, 500, "{what}");
}

fn panics_counted(application: &Application) -> u64 {
    let stats = application.stats();
    let mut failures = stats.failures();
    let counted = failures.find(|(kind, _)| *kind == FailureKind::Panic);
    counted.map_or(0, |(_, count)| count)
}

#[test]
fn a_panic_of_the_host_fails_its_own_request_alone() {
    run(async {
        for world in [World::Wasi02, World::Wasi03] {
            let what = format!("{world:?}");
            let application = application(world, "count", 1, 1);
            let (release, held) = held_request(false);
            let other = tokio::spawn({
                let application = application.clone();
                async move { send(&application, held).await }
            });
            until("the other is at work", || application.active() == 1).await;
            for count in 1..=3 {
                assert_panicked(send(&application, request(true)).await, &what);
                assert_eq!(panics_counted(&application), count, "{what}");
                let next = send(&application, request(false)).await;
                assert_eq!(next.unwrap(), "4\n", "{what}");
            }
            release.send(()).unwrap();
            assert_eq!(other.await.unwrap().unwrap(), "4\n", "{what}");
            until("all is over", || application.active() == 0).await;
            assert_eq!(application.stats().instances, 0, "{what}");
        }
    });
}

#[test]
fn a_panic_of_the_host_after_the_head_cuts_the_response_off() {
    run(async {
        for world in [World::Wasi02, World::Wasi03] {
            let application = application(world, "echo", 1, 1);
            let (release, held) = held_request(true);
            let response = application.handle(RequestId::next(), held).await.unwrap();
            assert_eq!(response.status(), 200, "{world:?}");
            release.send(()).unwrap();
            let end = response.into_body().collect().await.err();
            assert_eq!(end, Some(CutOff::Failed), "{world:?}");
            assert_eq!(panics_counted(&application), 1, "{world:?}");
            let next = send(&application, request(false)).await;
            assert_eq!(next.unwrap(), "four", "{world:?}");
        }
    });
}

#[test]
fn an_instance_in_which_the_host_has_panicked_is_not_reused() {
    run(async {
        for world in [World::Wasi02, World::Wasi03] {
            let what = format!("{world:?}");
            let application = application(world, "count", 100, 1);
            let started = || application.stats().instances_started;
            for _ in 0..3 {
                let answer = send(&application, request(false)).await;
                assert_eq!(answer.unwrap(), "4\n", "{what}");
            }
            assert_eq!(started(), 1, "{what}: it is used again");
            assert_panicked(send(&application, request(true)).await, &what);
            assert_eq!(started(), 1, "{what}");
            let answer = send(&application, request(false)).await;
            assert_eq!(answer.unwrap(), "4\n", "{what}");
            assert_eq!(started(), 2, "{what}");
        }
    });
}

#[test]
fn a_panic_of_the_host_in_a_shared_instance_fails_the_requests_of_that_instance() {
    run(async {
        let application = application(World::Wasi03, "count", 100, 4);
        let (release, held) = held_request(false);
        let other = tokio::spawn({
            let application = application.clone();
            async move { send(&application, held).await }
        });
        until("the other is at work", || {
            application.stats().instances_started == 1
        })
        .await;
        let one = send(&application, request(true)).await.err().unwrap();
        let other = other.await.unwrap().err().unwrap();
        for failure in [one, other] {
            assert!(matches!(failure, Failure::Lost), "{failure}");
            assert_eq!(failure.answer().status, 500);
        }
        assert_eq!(panics_counted(&application), 1);
        drop(release);
        assert_eq!(application.stats().instances_started, 1);
        let next = send(&application, request(false)).await;
        assert_eq!(next.unwrap(), "4\n");
        assert_eq!(application.stats().instances_started, 2);
    });
}
