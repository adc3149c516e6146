//! Offload: guests that compute for long continue in the background runtime.

use std::time::Duration;

use engine::{CutOff, Engine, Failure, Limits, Options};
use http_body_util::BodyExt as _;
use tokio::runtime::{Builder, Runtime};

use super::{application, computing_for, get, until};

/// Runs `test` with an engine that offloads guests to the runtime whose handle the test gets.
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
fn only_guests_that_compute_for_long_are_offloaded() {
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
        until("the offload", || elsewhere.metrics().num_alive_tasks() == 1).await;
        assert_eq!(engine.active_instances(), 1);

        // An offloaded guest is cancelled with its request.
        spinning.abort();
        until("its end", || engine.active_instances() == 0).await;
        until("the end of its task", || {
            elsewhere.metrics().num_alive_tasks() == 0
        })
        .await;
    });
}

#[test]
fn the_execution_timeout_continues_to_count_after_an_offload() {
    run(|engine, _| async move {
        let spin = application(&engine, "spin", computing_for(50));
        let failure = get(&spin, "/").await.err().unwrap();
        assert!(matches!(failure, Failure::ExecutionTimeout(_)), "{failure}");
        let response = get(&spin, "/?after").await.unwrap();
        let body = response.into_body().collect().await;
        assert_eq!(body.err(), Some(CutOff::Failed));
        assert!(spin.stats().execution_time >= Duration::from_millis(100));
    });
}

#[test]
fn responses_of_offloaded_guests_are_complete() {
    run(|engine, elsewhere| async move {
        let compute = application(&engine, "compute", Limits::default());
        for target in ["/?before=100", "/?after=100", "/?before=50&after=50"] {
            let response = async {
                let body = get(&compute, target).await.unwrap().into_body();
                body.collect().await.unwrap().to_bytes()
            };
            let was_there = async {
                until("the offload", || elsewhere.metrics().num_alive_tasks() == 1).await;
            };
            let (body, ()) = tokio::join!(response, was_there);
            assert_eq!(body, "computing\ncomputed\n", "{target}");
            until("its end", || compute.active() == 0).await;
        }
        assert_eq!(engine.active_instances(), 0);
    });
}
