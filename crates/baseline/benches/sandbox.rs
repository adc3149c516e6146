//! What a sandbox costs: to be made, to be called, and to be destroyed, with Wasmtime alone; and all of
//! a request in the server's engine.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark must fail when a step of it does"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use baseline::Sandbox;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use engine::{Application, Component, Engine, Options, RequestBodyError, RequestId, Settings};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use test_components::World;
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The parts of a request's life that are measured apart from each other.
const PARTS: [&str; 3] = ["instantiate", "call", "drop"];

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn request() -> http::request::Builder {
    Request::get("http://localhost/").header("host", "localhost")
}

fn parts(criterion: &mut Criterion) {
    let sandbox = Sandbox::load(&World::Wasi02.guest("hello")).unwrap();
    let runtime = runtime();
    for (part, name) in PARTS.into_iter().enumerate() {
        criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                runtime.block_on(async {
                    let mut total = Duration::ZERO;
                    for _ in 0..count {
                        total += one(&sandbox).await[part];
                    }
                    total
                })
            });
        });
    }
}

/// One request, and how long each of its parts took.
async fn one(sandbox: &Sandbox) -> [Duration; PARTS.len()] {
    let begun = Instant::now();
    let instance = sandbox.instantiate().await.unwrap();
    let instantiated = Instant::now();
    let request = request().body(Empty::<Bytes>::new()).unwrap();
    let (response, rest) = instance.call(request).await.unwrap();
    let instance = rest.await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    let called = Instant::now();
    drop(instance);
    let dropped = Instant::now();
    black_box(body);
    [
        instantiated - begun,
        called - instantiated,
        dropped - called,
    ]
}

fn requests(criterion: &mut Criterion) {
    let engine = Engine::new(&Options::default()).unwrap();
    let runtime = runtime();
    for (world, name) in [
        (World::Wasi02, "request in the engine"),
        (World::Wasi03, "request in the engine, WASI 0.3"),
    ] {
        let component = Component::load(&engine, &world.guest("hello")).unwrap();
        let application = Application::new(engine.clone(), component, Settings::new("hello"));
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let body = Empty::<Bytes>::new().map_err(never);
                    let request = request().body(body).unwrap();
                    let response = application.handle(RequestId::next(), request).await;
                    response.unwrap().into_body().collect().await.unwrap()
                })
            });
        });
    }
}

fn never(never: Infallible) -> RequestBodyError {
    match never {}
}

criterion_group!(benches, parts, requests);
criterion_main!(benches);
