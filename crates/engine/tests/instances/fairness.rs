//! Applications that want all there is, and the requests of others beside them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Wake};

use engine::{Application, Component, Engine, Instances, Limits, Settings};
use http_body_util::BodyExt as _;
use test_components::World;
use tokio::runtime::{Builder, Runtime};

use super::{application, engine, get, run, until};

/// More requests in progress than there may be instances.
fn many() -> Limits {
    Limits {
        concurrency: NonZeroU32::new(100),
        ..Limits::default()
    }
}

/// An application whose instances count the requests that they serve, so many of them at a time.
fn remembering(engine: &Engine, world: World, concurrency: u32) -> Application {
    let component = Component::load(engine, &world.guest("remember")).unwrap();
    let settings = Settings {
        instances: Instances {
            reuse: NonZeroU32::new(1000).unwrap(),
            concurrency: NonZeroU32::new(concurrency).unwrap(),
        },
        limits: many(),
        ..Settings::new("remember")
    };
    Application::new(engine.clone(), component, settings)
}

/// One thread, like each of those that serve.
fn thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn text(application: &Application, target: &str) -> String {
    let body = get(application, target).await.unwrap().into_body();
    let body = body.collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn a_flood_of_small_requests_leaves_its_thread_to_those_of_another_application() {
    const FLOOD: usize = 100;
    thread().block_on(async {
        let engine = engine(400);
        let flood = application(&engine, "hello", Limits::default());
        let hello = application(&engine, "hello", Limits::default());
        let served = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..FLOOD)
            .map(|_| {
                let (flood, served) = (flood.clone(), Arc::clone(&served));
                tokio::spawn(async move {
                    loop {
                        text(&flood, "/").await;
                        served.fetch_add(1, Ordering::Relaxed);
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let mut waited = Vec::new();
        for _ in 0..20 {
            let before = served.load(Ordering::Relaxed);
            let hello = hello.clone();
            let answer = tokio::spawn(async move { text(&hello, "/").await });
            assert_eq!(answer.await.unwrap(), "Hello, world!\n");
            waited.push(served.load(Ordering::Relaxed) - before);
        }
        clients.iter().for_each(tokio::task::JoinHandle::abort);
        // In the order in which they came, each would wait for all the others.
        waited.sort_unstable();
        assert!(waited[15] < FLOOD / 2, "{waited:?}");
    });
}

#[test]
fn waiting_requests_get_reused_instances_of_their_application() {
    run(async {
        let engine = engine(4);
        let remember = remembering(&engine, World::Wasi02, 1);
        let requests: Vec<_> = (0..19)
            .map(|_| {
                let remember = remember.clone();
                tokio::spawn(async move { text(&remember, "/?sleep=5").await })
            })
            .collect();
        for request in requests {
            request.await.unwrap();
        }
        assert_eq!(remember.stats().instances_started, 3);
    });
}

#[test]
fn a_flood_leaves_reused_instances_of_other_applications_alone() {
    run(async {
        for instances in [8, 10] {
            let engine = engine(instances);
            let remember = remembering(&engine, World::Wasi02, 1);
            assert_eq!(text(&remember, "/").await, "1\n");
            let flood = application(&engine, "sleep", many());
            let flooding: Vec<_> = (0..20)
                .map(|_| {
                    let flood = flood.clone();
                    tokio::spawn(async move {
                        loop {
                            let _ = get(&flood, "/?5").await;
                        }
                    })
                })
                .collect();
            until("a flood", || flood.stats().instances_started > 100).await;
            for count in 2..10 {
                assert_eq!(text(&remember, "/").await, format!("{count}\n"));
                let started = flood.stats().instances_started;
                until("more of it", || {
                    flood.stats().instances_started > started + 20
                })
                .await;
            }
            flooding.iter().for_each(tokio::task::JoinHandle::abort);
        }
    });
}

#[test]
fn requests_that_share_instances_wait_for_the_next_that_has_room() {
    run(async {
        let engine = engine(4);
        let remember = remembering(&engine, World::Wasi03, 4);
        let requests: Vec<_> = (0..12 + 16)
            .map(|_| {
                let remember = remember.clone();
                tokio::spawn(async move { text(&remember, "/?sleep=20").await })
            })
            .collect();
        for request in requests {
            request.await.unwrap();
        }
        assert!(remember.stats().instances_started <= 3);
        assert_eq!(remember.active(), 0);
    });
}

/// Whether a task was woken up.
#[derive(Default)]
struct WokenUp(AtomicBool);

impl Wake for WokenUp {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_request_that_ends_wakes_one_waiting_request() {
    run(async {
        let engine = engine(1);
        let remember = remembering(&engine, World::Wasi03, 2);
        let working: Vec<_> = (0..2)
            .map(|_| {
                let remember = remember.clone();
                tokio::spawn(async move { text(&remember, "/?sleep=300").await })
            })
            .collect();
        until("both at work", || remember.active() == 2).await;
        until("their instance", || remember.stats().instances == 1).await;
        let mut waiting: Vec<_> = (0..10)
            .map(|_| (Box::pin(get(&remember, "/")), Arc::new(WokenUp::default())))
            .collect();
        for (request, woken) in &mut waiting {
            let waker = Arc::clone(woken).into();
            let polled = request.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        for request in working {
            request.await.unwrap();
        }
        until("the next one's turn", || {
            waiting
                .iter()
                .any(|(_, woken)| woken.0.load(Ordering::SeqCst))
        })
        .await;
        let woken = waiting
            .iter()
            .filter(|(_, woken)| woken.0.load(Ordering::SeqCst));
        // One per permit, and one for the instance, which is idle then.
        assert!(woken.count() <= 3);
    });
}
