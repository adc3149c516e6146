//! Guests that compute for long go on elsewhere.

use std::time::Duration;

use engine::{CutOff, Engine, Failure, Limits, Options};
use http_body_util::BodyExt as _;
use tokio::runtime::{Builder, Runtime};

use super::{application, computing_for, get, until};

/// Runs `test` on a thread of its own, with an engine that has guests go on in the runtime that it is given.
fn run<F: Future<Output = ()>>(test: impl FnOnce(Engine, tokio::runtime::Handle) -> F) {
    let elsewhere = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let engine = Engine::new(&Options {
        instances: 8,
        background: Some(elsewhere.handle().clone()),
        ..Options::default()
    });
    let here: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
    here.block_on(test(engine.unwrap(), elsewhere.handle().clone()));
}

#[test]
fn only_guests_that_compute_for_long_go() {
    run(|engine, elsewhere| async move {
        let hello = application(&engine, "hello", Limits::default());
        let spin = application(&engine, "spin", Limits::default());
        for _ in 0..10 {
            get(&hello, "/").await.unwrap();
        }
        assert_eq!(elsewhere.metrics().num_alive_tasks(), 0);
        let spinning = tokio::spawn(async move {
            let outcome = get(&spin, "/").await;
            (spin, outcome.err())
        });
        until("it goes", || elsewhere.metrics().num_alive_tasks() == 1).await;
        assert_eq!(engine.active_instances(), 1);

        // Whoever waits for it may go, wherever it is.
        spinning.abort();
        until("its end", || engine.active_instances() == 0).await;
        until("the end of its task", || {
            elsewhere.metrics().num_alive_tasks() == 0
        })
        .await;
    });
}

#[test]
fn what_they_may_compute_is_counted_on() {
    run(|engine, _| async move {
        let spin = application(&engine, "spin", computing_for(50));
        let failure = get(&spin, "/").await.err().unwrap();
        assert!(matches!(failure, Failure::ExecutionTimeout(_)), "{failure}");
        let response = get(&spin, "/?after").await.unwrap();
        let body = response.into_body().collect().await;
        assert_eq!(body.err(), Some(CutOff::Failed));
        assert!(spin.figures().execution_time >= Duration::from_millis(100));
    });
}

#[test]
fn their_responses_arrive_whole() {
    run(|engine, elsewhere| async move {
        let compute = application(&engine, "compute", Limits::default());
        for target in ["/?before=100", "/?after=100", "/?before=50&after=50"] {
            let response = async {
                let body = get(&compute, target).await.unwrap().into_body();
                body.collect().await.unwrap().to_bytes()
            };
            let was_there = async {
                until("it goes", || elsewhere.metrics().num_alive_tasks() == 1).await;
            };
            let (body, ()) = tokio::join!(response, was_there);
            assert_eq!(body, "computing\ncomputed\n", "{target}");
            until("its end", || compute.active() == 0).await;
        }
        assert_eq!(engine.active_instances(), 0);
    });
}
