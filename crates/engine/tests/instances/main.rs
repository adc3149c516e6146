//! Instances from start to end, through the engine's public interface: without sockets or an HTTP parser.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

mod bodies;
mod fairness;
mod offload;
mod panics;
mod stats;

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use engine::{
    Application, Body, Component, CutOff, Engine, Failure, Instances, Limits, Options,
    RequestBodyError, RequestId, Settings,
};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use test_components::World;

type RequestBody = UnsyncBoxBody<Bytes, RequestBodyError>;

fn engine(instances: u32) -> Engine {
    Engine::new(&Options {
        instances,
        ..Options::default()
    })
    .unwrap()
}

fn application(engine: &Engine, guest: &str, limits: Limits) -> Application {
    let component = Component::load(engine, &test_components::guest(guest)).unwrap();
    let settings = Settings {
        limits,
        ..Settings::new(guest)
    };
    Application::new(engine.clone(), component, settings)
}

fn request(target: &str) -> Request<RequestBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::get(format!("http://localhost{target}"))
        .body(body)
        .unwrap()
}

async fn get(application: &Application, target: &str) -> Result<Response<Body>, Failure> {
    application.handle(RequestId::next(), request(target)).await
}

/// Polls until the condition holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} takes too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

#[test]
fn a_small_response_is_buffered_with_its_length() {
    run(async {
        let application = application(&engine(4), "hello", Limits::default());
        let response = get(&application, "/").await.unwrap();
        let body = response.into_body();
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(14));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "Hello, world!\n");
        assert_eq!(application.active(), 0);
    });
}

#[test]
fn responses_are_complete_beyond_the_cooperative_budget_of_a_task() {
    run(async {
        let application = application(&engine(4), "hello", Limits::default());
        // More than tokio's channels give one task before it has to let others go ahead.
        for _ in 0..300 {
            let body = get(&application, "/").await.unwrap().into_body();
            assert_eq!(body.collect().await.unwrap().to_bytes(), "Hello, world!\n");
        }
    });
}

#[test]
fn dropping_the_future_cancels_an_endless_loop() {
    run(async {
        let application = application(&engine(4), "spin", Limits::default());
        let spinning = get(&application, "/");
        assert!(
            tokio::time::timeout(Duration::from_millis(50), spinning)
                .await
                .is_err()
        );
        assert_eq!(application.active(), 0);
    });
}

#[test]
fn dropping_the_body_cancels_an_endless_loop() {
    run(async {
        let application = application(&engine(4), "spin", Limits::default());
        let response = get(&application, "/?after").await.unwrap();
        let mut body = response.into_body();
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "partial"
        );
        assert_eq!(application.active(), 1);
        drop(body);
        assert_eq!(application.active(), 0);
    });
}

#[test]
fn endless_loops_leave_time_for_others() {
    run(async {
        let engine = engine(64);
        let spin = application(&engine, "spin", Limits::default());
        let hello = application(&engine, "hello", Limits::default());
        let spinning: Vec<_> = (0..20)
            .map(|_| {
                let spin = spin.clone();
                tokio::spawn(async move { get(&spin, "/").await.map(drop) })
            })
            .collect();
        until("starting to spin", || spin.active() == 20).await;
        for _ in 0..20 {
            let hello = hello.clone();
            let answer = tokio::spawn(async move { get(&hello, "/").await.unwrap().status() });
            let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
            assert_eq!(answer.unwrap().unwrap(), 200);
        }
        spinning.iter().for_each(tokio::task::JoinHandle::abort);
        until("the end of the spinning", || spin.active() == 0).await;
    });
}

#[test]
fn a_response_that_does_not_start_in_time_is_a_timeout() {
    run(async {
        let limits = Limits {
            timeout: Duration::from_millis(50),
            ..Limits::default()
        };
        let engine = engine(4);
        for guest in ["sleep", "spin"] {
            let application = application(&engine, guest, limits.clone());
            let failure = get(&application, "/?60000").await.err().unwrap();
            assert!(matches!(failure, Failure::Timeout(_)), "{failure}");
            assert_eq!(failure.answer().status, 504);
            assert_eq!(application.active(), 0);
        }
    });
}

#[test]
fn a_request_waits_for_an_instance_for_a_second() {
    run(async {
        let engine = engine(1);
        let sleep = application(&engine, "sleep", Limits::default());
        let long = tokio::spawn({
            let sleep = sleep.clone();
            async move { get(&sleep, "/?60000").await.map(drop) }
        });
        until("starting to sleep", || sleep.active() == 1).await;
        let failure = get(&sleep, "/?0").await.err().unwrap();
        assert!(matches!(failure, Failure::Busy), "{failure}");
        long.abort();
        assert!(long.await.is_err());
        assert_eq!(get(&sleep, "/?0").await.unwrap().status(), 200);
    });
}

#[test]
fn an_unread_response_of_an_ended_guest_holds_no_instance() {
    run(async {
        let application = application(&engine(1), "hello", Limits::default());
        let unread = get(&application, "/").await.unwrap();
        assert_eq!(get(&application, "/").await.unwrap().status(), 200);
        drop(unread);
    });
}

#[test]
fn work_after_the_response_is_cancelled_after_its_limit() {
    run(async {
        let limits = Limits {
            after_response: Duration::from_millis(100),
            ..Limits::default()
        };
        let engine = engine(4);
        let application = application(&engine, "work_after", limits);
        let response = get(&application, "/?60000").await.unwrap();
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            "done\n"
        );
        assert_eq!(application.active(), 1);
        until("the end of the work", || application.active() == 0).await;
        tokio::time::timeout(Duration::from_secs(1), engine.wait_idle())
            .await
            .unwrap();
    });
}

#[test]
fn a_trap_after_the_complete_body_does_not_cut_it_off() {
    run(async {
        let application = application(&engine(4), "trap_after_headers", Limits::default());
        for target in ["/?0&finished", "/?50&finished"] {
            let response = get(&application, target).await.unwrap();
            assert_eq!(
                response.into_body().collect().await.unwrap().to_bytes(),
                "partial"
            );
        }
    });
}

#[test]
fn incomplete_bodies_end_in_a_cut_off_or_a_failure() {
    run(async {
        let engine = engine(4);
        for (guest, target, cut_off) in [
            ("trap_after_headers", "/?50", CutOff::Failed),
            ("short_length", "/?finish&50", CutOff::Dropped),
            ("short_length", "/?drop&50", CutOff::Dropped),
            ("long_length", "/?50", CutOff::TooLong),
            ("unfinished", "/?leak&50", CutOff::Unfinished),
            ("unfinished", "/?drop&50", CutOff::Dropped),
        ] {
            let application = application(&engine, guest, Limits::default());
            let late = get(&application, target).await.unwrap();
            let error = late.into_body().collect().await.err();
            assert_eq!(error, Some(cut_off), "{guest}{target}");
            // Without a wait in between, nothing has been sent when the failure shows, unless the
            // guest's slice of time ends just there.
            match get(&application, &target.replace("50", "0")).await {
                Ok(early) => assert!(
                    early.into_body().collect().await.is_err(),
                    "{guest}{target}"
                ),
                Err(failure) => assert_eq!(failure.answer().status, 500, "{guest}{target}"),
            }
            assert_eq!(application.active(), 0);
        }
    });
}

/// A body that is there in part, and that tells when it is gone.
struct Kept(
    Option<Bytes>,
    #[expect(dead_code, reason = "it is counted")] Arc<()>,
);

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        self.0.take().map_or(Poll::Pending, |piece| {
            Poll::Ready(Some(Ok(Frame::data(piece))))
        })
    }
}

#[test]
fn the_request_body_is_revoked_from_a_guest_that_keeps_it() {
    run(async {
        let engine = engine(4);
        for (world, concurrency) in [(World::Wasi02, 1), (World::Wasi03, 1), (World::Wasi03, 4)] {
            let component = Component::load(&engine, &world.guest("partial_read")).unwrap();
            let instances = Instances {
                reuse: NonZeroU32::new(10).unwrap(),
                concurrency: NonZeroU32::new(concurrency).unwrap(),
            };
            let settings = Settings {
                instances,
                ..Settings::new("keeping")
            };
            let application = Application::new(engine.clone(), component, settings);
            for _ in 0..3 {
                let there = Arc::new(());
                let request = Request::post("http://localhost/?keep")
                    .body(Kept(Some(Bytes::from_static(b"five!")), Arc::clone(&there)))
                    .unwrap();
                let response = application
                    .handle(RequestId::next(), request)
                    .await
                    .unwrap();
                let body = response.into_body().collect().await.unwrap();
                assert_eq!(body.to_bytes(), "5\n");
                until("giving the body back", || Arc::strong_count(&there) == 1).await;
            }
        }
    });
}

#[test]
fn a_head_request_lets_the_guest_finish_its_body() {
    run(async {
        let engine = engine(4);
        for (guest, target) in [
            ("download", "/?1000000"),
            ("short_length", "/?finish&20"),
            ("unfinished", "/?drop&20"),
            ("work_after", "/?20"),
        ] {
            let application = application(&engine, guest, Limits::default());
            let mut request = request(target);
            *request.method_mut() = Method::HEAD;
            let response = application
                .handle(RequestId::next(), request)
                .await
                .unwrap();
            assert_eq!(response.status(), 200);
            assert!(http_body::Body::is_end_stream(response.body()));
            drop(response);
            until("the end of the guest", || application.active() == 0).await;
        }
    });
}

#[test]
fn all_guests_together_stay_within_the_memory_of_the_engine() {
    run(async {
        let options = Options {
            instances: 8,
            memory: 32 << 20,
            ..Options::default()
        };
        let engine = Engine::new(&options).unwrap();
        let bomb = application(&engine, "memory_bomb", Limits::default());
        let hello = application(&engine, "hello", Limits::default());
        for _ in 0..3 {
            let failure = get(&bomb, "/").await.err().unwrap();
            assert!(matches!(failure, Failure::Trap(_)), "{failure}");
            assert_eq!(get(&hello, "/").await.unwrap().status(), 200);
        }
    });
}

#[test]
fn cancelled_instances_are_all_destroyed() {
    run(async {
        let engine = engine(32);
        let application = application(&engine, "sleep", Limits::default());
        for _ in 0..200 {
            let request = get(&application, "/?10000");
            assert!(
                tokio::time::timeout(Duration::from_millis(1), request)
                    .await
                    .is_err()
            );
        }
        assert_eq!(application.active(), 0);
        tokio::time::timeout(Duration::from_secs(1), engine.wait_idle())
            .await
            .unwrap();
    });
}

fn computing_for(milliseconds: u64) -> Limits {
    Limits {
        execution_timeout: Duration::from_millis(milliseconds),
        ..Limits::default()
    }
}

#[test]
fn a_guest_that_computes_for_too_long_is_an_execution_timeout() {
    run(async {
        let engine = engine(4);
        let spin = application(&engine, "spin", computing_for(50));
        let failure = get(&spin, "/").await.err().unwrap();
        assert!(matches!(failure, Failure::ExecutionTimeout(_)), "{failure}");
        assert_eq!(failure.answer().status, 504);

        let late = get(&spin, "/?after").await.unwrap();
        let error = late.into_body().collect().await.err();
        assert_eq!(error, Some(CutOff::Failed));
        assert_eq!(spin.active(), 0);
    });
}

#[test]
fn computing_after_the_response_counts_for_the_execution_timeout() {
    run(async {
        let limits = Limits {
            after_response: Duration::MAX,
            ..computing_for(50)
        };
        let spin = application(&engine(4), "spin", limits);
        let mut request = request("/?after");
        *request.method_mut() = Method::HEAD;
        // The response has no body, so the guest runs in a task of the engine.
        let response = spin.handle(RequestId::next(), request).await.unwrap();
        assert_eq!(response.status(), 200);
        until("the end of the guest", || spin.active() == 0).await;
    });
}

#[test]
fn waiting_does_not_count_for_the_execution_timeout() {
    run(async {
        let engine = engine(4);
        let sleep = application(&engine, "sleep", computing_for(400));
        assert_eq!(get(&sleep, "/?1000").await.unwrap().status(), 200);

        // Nor is the wait for a client that takes its time.
        let download = application(&engine, "download", computing_for(400));
        let mut body = get(&download, "/?2000000").await.unwrap().into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.unwrap().into_data().unwrap().len();
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert_eq!(length, 2_000_000);
    });
}

fn concurrently(requests: u32) -> Limits {
    Limits {
        concurrency: NonZeroU32::new(requests),
        ..Limits::default()
    }
}

#[test]
fn requests_beyond_the_concurrency_limit_are_refused_after_a_wait() {
    run(async {
        let engine = engine(8);
        let one = application(&engine, "sleep", concurrently(1));
        let other = application(&engine, "sleep", concurrently(1));
        let long = tokio::spawn({
            let one = one.clone();
            async move { get(&one, "/?60000").await.map(drop) }
        });
        until("starting to sleep", || one.active() == 1).await;
        assert!(!one.has_room());
        let failure = get(&one, "/?0").await.err().unwrap();
        assert!(matches!(failure, Failure::Busy), "{failure}");
        let answer = failure.answer();
        assert_eq!(answer.status, 503);
        assert!(answer.retry_after.is_some());

        assert!(other.has_room());
        assert_eq!(get(&other, "/?0").await.unwrap().status(), 200);
        long.abort();
    });
}

#[test]
fn requests_at_the_concurrency_limit_are_all_served_in_the_end() {
    run(async {
        let application = application(&engine(8), "sleep", concurrently(1));
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let application = application.clone();
                tokio::spawn(async move { get(&application, "/?20").await.unwrap().status() })
            })
            .collect();
        for answer in waiting {
            assert_eq!(answer.await.unwrap(), 200);
        }
        assert!(application.has_room());
    });
}

#[test]
fn requests_beyond_the_queue_of_the_concurrency_limit_are_refused_at_once() {
    run(async {
        let application = application(&engine(8), "sleep", concurrently(1));
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let application = application.clone();
                tokio::spawn(async move { get(&application, "/?60000").await.map(drop) })
            })
            .collect();
        // One is at work, and 16 wait for a second; the others are refused at once.
        until("the refusals", || {
            waiting.iter().filter(|answer| answer.is_finished()).count() >= 83
        })
        .await;
        assert_eq!(application.active(), 1);
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    });
}
