//! What an application counts.

use std::num::NonZeroU32;
use std::time::Duration;

use engine::{Application, Component, FailureKind, Figures, Instances, Limits, Settings};
use http_body_util::BodyExt as _;
use test_components::World;

use super::{application, computing_for, concurrently, engine, get, run, until};

/// The counts that are not zero, by their names.
fn answers(figures: &Figures) -> Vec<(&'static str, u64)> {
    figures.answers().filter(|(_, count)| *count > 0).collect()
}

fn failures(figures: &Figures) -> Vec<(FailureKind, u64)> {
    figures.failures().filter(|(_, count)| *count > 0).collect()
}

/// Asks for a response, and reads it as far as it goes.
async fn read(application: &Application, target: &str) {
    if let Ok(response) = get(application, target).await {
        let _ = response.into_body().collect().await;
    }
}

#[test]
fn each_request_makes_an_instance_that_is_gone_with_its_memory() {
    run(async {
        let hello = application(&engine(4), "hello", Limits::default());
        assert_eq!(hello.figures(), Figures::default());
        for _ in 0..3 {
            read(&hello, "/").await;
        }
        let figures = hello.figures();
        assert_eq!((figures.instances, figures.instances_started), (0, 3));
        assert_eq!(figures.memory, 0);
        // One at a time, and each with more than a megabyte, which is what Rust's stack takes.
        assert!((1 << 20..3 << 20).contains(&figures.peak_memory));
        assert!(figures.execution_time > Duration::ZERO);
        assert_eq!(answers(&figures), [("2xx", 3)]);
        assert_eq!((failures(&figures), figures.cut_off), (vec![], 0));
    });
}

#[test]
fn an_instance_at_work_is_there_with_its_memory() {
    run(async {
        let engine = engine(4);
        let sleep = application(&engine, "sleep", concurrently(1));
        let long = tokio::spawn({
            let sleep = sleep.clone();
            async move { read(&sleep, "/?60000").await }
        });
        until("starting to sleep", || sleep.figures().memory > 0).await;
        let figures = sleep.figures();
        assert_eq!((figures.instances, figures.instances_started), (1, 1));
        assert_eq!(figures.memory, engine.memory_used());
        assert_eq!(answers(&figures), []);

        read(&sleep, "/").await;
        let figures = sleep.figures();
        assert_eq!(failures(&figures), [(FailureKind::Busy, 1)]);
        assert_eq!(answers(&figures), [("5xx", 1)]);
        assert_eq!(figures.instances_started, 1);

        long.abort();
        until("its end", || sleep.figures().instances == 0).await;
        assert_eq!((sleep.figures().memory, engine.memory_used()), (0, 0));
    });
}

#[test]
fn failures_count_by_their_kind_wherever_they_show() {
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
            let figures = application.figures();
            assert_eq!(failures(&figures), [(kind, 1)], "{guest}{target}");
            assert_eq!(answers(&figures), [(answer, 1)], "{guest}{target}");
            assert_eq!(figures.cut_off, cut_off, "{guest}{target}");
        }
    });
}

#[test]
fn what_a_guest_computes_counts_turn_by_turn_and_when_it_is_too_much() {
    run(async {
        let engine = engine(4);
        let spin = application(&engine, "spin", computing_for(50));
        read(&spin, "/").await;
        read(&spin, "/?after").await;
        let figures = spin.figures();
        assert_eq!(failures(&figures), [(FailureKind::ExecutionTimeout, 2)]);
        assert_eq!(answers(&figures), [("2xx", 1), ("5xx", 1)]);
        assert_eq!(figures.cut_off, 1);
        assert!(figures.execution_time >= Duration::from_millis(100));
        assert!(engine.ticks() > 0);

        let endless = application(&engine, "spin", Limits::default());
        let spinning = tokio::spawn({
            let endless = endless.clone();
            async move { read(&endless, "/").await }
        });
        until("some turns", || {
            endless.figures().execution_time >= Duration::from_millis(20)
        })
        .await;
        assert_eq!(endless.active(), 1);
        spinning.abort();
    });
}

#[test]
fn a_trap_in_an_instance_of_several_requests_is_one_and_they_are_lost() {
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
        let figures = shared.figures();
        assert_eq!(
            failures(&figures),
            [(FailureKind::Trap, 1), (FailureKind::Lost, 2)]
        );
        assert_eq!((figures.cut_off, figures.instances_started), (2, 1));

        // Alone in its instance, a request has the failure to itself.
        read(&shared, "/?50").await;
        let figures = shared.figures();
        assert_eq!(
            failures(&figures),
            [(FailureKind::Trap, 2), (FailureKind::Lost, 2)]
        );
        assert_eq!(figures.cut_off, 3);
    });
}
