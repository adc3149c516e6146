//! What an application counts.

use std::num::NonZeroU32;
use std::time::Duration;

use engine::{Application, ApplicationStats, Component, FailureKind, Instances, Limits, Settings};
use http_body_util::BodyExt as _;
use test_components::World;

use super::{application, computing_for, concurrently, engine, get, run, until};

/// The counts that are not zero, by their names.
fn answers(stats: &ApplicationStats) -> Vec<(&'static str, u64)> {
    stats.answers().filter(|(_, count)| *count > 0).collect()
}

fn failures(stats: &ApplicationStats) -> Vec<(FailureKind, u64)> {
    stats.failures().filter(|(_, count)| *count > 0).collect()
}

/// Sends a request, and reads the response until it ends or is cut off.
async fn read(application: &Application, target: &str) {
    if let Ok(response) = get(application, target).await {
        let _ = response.into_body().collect().await;
    }
}

#[test]
fn each_request_starts_an_instance_that_is_destroyed_with_its_memory() {
    run(async {
        let hello = application(&engine(4), "hello", Limits::default());
        assert_eq!(hello.stats(), ApplicationStats::default());
        for _ in 0..3 {
            read(&hello, "/").await;
        }
        let stats = hello.stats();
        assert_eq!((stats.instances, stats.instances_started), (0, 3));
        assert_eq!(stats.memory, 0);
        // One at a time, and each with more than a megabyte, which is what Rust's stack takes.
        assert!((1 << 20..3 << 20).contains(&stats.peak_memory));
        assert!(stats.execution_time > Duration::ZERO);
        assert_eq!(answers(&stats), [("2xx", 3)]);
        assert_eq!((failures(&stats), stats.cut_off), (vec![], 0));
    });
}

#[test]
fn a_working_instance_counts_with_its_memory() {
    run(async {
        let engine = engine(4);
        let sleep = application(&engine, "sleep", concurrently(1));
        let long = tokio::spawn({
            let sleep = sleep.clone();
            async move { read(&sleep, "/?60000").await }
        });
        until("starting to sleep", || sleep.stats().memory > 0).await;
        let stats = sleep.stats();
        assert_eq!((stats.instances, stats.instances_started), (1, 1));
        assert_eq!(stats.memory, engine.memory_used());
        assert_eq!(answers(&stats), []);

        read(&sleep, "/").await;
        let stats = sleep.stats();
        assert_eq!(failures(&stats), [(FailureKind::Busy, 1)]);
        assert_eq!(answers(&stats), [("5xx", 1)]);
        assert_eq!(stats.instances_started, 1);

        long.abort();
        until("its end", || sleep.stats().instances == 0).await;
        assert_eq!((sleep.stats().memory, engine.memory_used()), (0, 0));
    });
}

#[test]
fn failures_count_by_kind_before_and_after_the_head() {
    run(async {
        let engine = engine(4);
        for (guest, target, kind, answer, cut_off) in [
            ("trap", "/", FailureKind::Trap, "5xx", 0),
            ("trap_after_headers", "/?50", FailureKind::Trap, "2xx", 1),
            (
                "trap_after_headers",
                "/?finished",
                FailureKind::Trap,
                "2xx",
                0,
            ),
            (
                "trap_after_headers",
                "/?finished&50",
                FailureKind::Trap,
                "2xx",
                0,
            ),
            ("short_length", "/?drop&50", FailureKind::Broken, "2xx", 1),
            ("no_response", "/", FailureKind::NoResponse, "5xx", 0),
            ("exit", "/", FailureKind::Exit, "5xx", 0),
            (
                "error_code",
                "/?internal-error",
                FailureKind::ErrorCode,
                "5xx",
                0,
            ),
        ] {
            let application = application(&engine, guest, Limits::default());
            read(&application, target).await;
            until("its end", || application.active() == 0).await;
            let stats = application.stats();
            assert_eq!(failures(&stats), [(kind, 1)], "{guest}{target}");
            assert_eq!(answers(&stats), [(answer, 1)], "{guest}{target}");
            assert_eq!(stats.cut_off, cut_off, "{guest}{target}");
        }
    });
}

#[test]
fn execution_time_is_counted_per_turn_and_at_an_execution_timeout() {
    run(async {
        let engine = engine(4);
        let spin = application(&engine, "spin", computing_for(50));
        read(&spin, "/").await;
        read(&spin, "/?after").await;
        let stats = spin.stats();
        assert_eq!(failures(&stats), [(FailureKind::ExecutionTimeout, 2)]);
        assert_eq!(answers(&stats), [("2xx", 1), ("5xx", 1)]);
        assert_eq!(stats.cut_off, 1);
        assert!(stats.execution_time >= Duration::from_millis(100));
        assert!(engine.ticks() > 0);

        let endless = application(&engine, "spin", Limits::default());
        let spinning = tokio::spawn({
            let endless = endless.clone();
            async move { read(&endless, "/").await }
        });
        until("some turns", || {
            endless.stats().execution_time >= Duration::from_millis(20)
        })
        .await;
        assert_eq!(endless.active(), 1);
        spinning.abort();
    });
}

#[test]
fn a_trap_in_a_shared_instance_counts_once_and_fails_all_its_requests() {
    run(async {
        let engine = engine(4);
        let component = Component::load(&engine, &World::Wasi03.guest("trap_after_headers"));
        let settings = Settings {
            instances: Instances {
                reuse: NonZeroU32::new(10).unwrap(),
                concurrency: NonZeroU32::new(4).unwrap(),
            },
            ..Settings::new("shared")
        };
        let shared = Application::new(engine, component.unwrap(), settings);
        let (first, second) = tokio::join!(get(&shared, "/?500"), get(&shared, "/?60000"));
        let (first, second) = (first.unwrap().into_body(), second.unwrap().into_body());
        let (first, second) = tokio::join!(first.collect(), second.collect());
        assert!(first.is_err() && second.is_err());
        let stats = shared.stats();
        assert_eq!(
            failures(&stats),
            [(FailureKind::Trap, 1), (FailureKind::Lost, 2)]
        );
        assert_eq!((stats.cut_off, stats.instances_started), (2, 1));

        // Alone in its instance, a request has the failure to itself.
        read(&shared, "/?50").await;
        let stats = shared.stats();
        assert_eq!(
            failures(&stats),
            [(FailureKind::Trap, 2), (FailureKind::Lost, 2)]
        );
        assert_eq!(stats.cut_off, 3);
    });
}
