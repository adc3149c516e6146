//! The life of an application process, from `start()` to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::unconstrained;
use unit_sys::{nxt_common_app_conf_t, nxt_task_t};

use crate::context::{MainContext, Received, UnitContext};
use crate::event_loop::{self, WorkerEnd};
use crate::port::WatchedPort;
use crate::process::Process;
use crate::prototype::Prototype;

/// Threads of each worker for file I/O, which blocks.
const BLOCKING_THREADS: usize = 16;

/// How long guests may work after their responses once the process is ending.
const BACKGROUND_GRACE: Duration = Duration::from_secs(5);

/// How often the main worker checks whether the others have finished.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// How long blocking threads may take to finish once their worker has ended.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

/// Runs the process until unitd ends it.
///
/// # Errors
///
/// As one sentence for the log, when it cannot start.
///
/// # Safety
///
/// `task` and `conf` must be what unitd calls `start()` with, while it does, and this must be the
/// only call in this process.
pub(crate) unsafe fn run(
    prototype: &Prototype,
    task: *mut nxt_task_t,
    conf: *mut nxt_common_app_conf_t,
) -> Result<(), String> {
    let process = Arc::new(Process::new(prototype)?);
    let runtime = runtime()?;
    // libunit's callbacks register ports with the reactor.
    let inside = runtime.enter();
    // SAFETY: by the caller's promise.
    let context = unsafe { UnitContext::main(task, conf, Arc::clone(&process)) }?;
    tracing::info!(
        application = &*prototype.configuration.name,
        "ready with {} threads for {} requests at a time",
        process.workers(),
        process.engine.instances()
    );
    let mut additional = Vec::new();
    let start_additional = || {
        additional = (1..process.workers())
            .filter_map(|number| spawn_worker(context.as_main(), &process, number))
            .collect();
    };
    let own_port = context.worker().own_port();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(unconstrained(async {
            let end = event_loop::run(&context, start_additional).await;
            if let WorkerEnd::Quit { cut_off } = end {
                drain(&process, &context, own_port, cut_off).await;
            }
            end
        }))
    }));
    if !matches!(outcome, Ok(WorkerEnd::Quit { .. })) {
        // Exit without dropping anything: the other workers are running, and use the main context.
        tracing::error!("the main worker failed; exiting, so that unitd starts another process");
        std::process::exit(1);
    }
    process.closed.send_replace(true);
    for worker in additional {
        // Not an error: a worker that panics has ended the process before this.
        let _ = worker.join();
    }
    drop(context);
    drop(inside);
    runtime.shutdown_timeout(BLOCKING_GRACE);
    Ok(())
}

/// Graceful shutdown, after the main context has quit: waits for the other workers' requests, then for
/// guests that work after their responses.
async fn drain(
    process: &Process,
    context: &UnitContext,
    own_port: Option<WatchedPort>,
    cut_off: bool,
) {
    if cut_off {
        process.end();
    }
    while process.serving.load(Ordering::SeqCst) > 0 {
        // The router's exit is announced on this port only.
        if let Some(port) = &own_port {
            for _ in 0..64 {
                if context.receive(port.get_ref()) != Received::Message {
                    break;
                }
            }
            context.end_requests();
        }
        if context.worker().wakeups().has_peer_exited() {
            process.end_without_router();
        }
        tokio::time::sleep(DRAIN_CHECK).await;
    }
    if !process.is_ending() {
        // Guests that take longer are cancelled with their runtimes.
        let _ = tokio::time::timeout(BACKGROUND_GRACE, process.engine.wait_idle()).await;
    }
}

/// Starts an additional worker; if that fails, the process continues without it.
fn spawn_worker(
    main: MainContext,
    process: &Arc<Process>,
    number: usize,
) -> Option<JoinHandle<()>> {
    process.serving.fetch_add(1, Ordering::SeqCst);
    let shared = Arc::clone(process);
    let worker = move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let runtime = runtime()?;
            let inside = runtime.enter();
            // SAFETY: the main context's thread waits for this one before it drops the context, and
            // ends the process when it cannot.
            let context = unsafe { UnitContext::additional(main, Arc::clone(&shared), number) }?;
            let mut closed = shared.closed.subscribe();
            let end = runtime.block_on(unconstrained(async {
                let end = event_loop::run(&context, || {}).await;
                if end != WorkerEnd::Failed {
                    shared.serving.fetch_sub(1, Ordering::SeqCst);
                    // Keeps the runtime: guests of this worker may still work after their responses.
                    let _ = closed.wait_for(|closed| *closed).await;
                }
                end
            }));
            drop(context);
            drop(inside);
            runtime.shutdown_timeout(BLOCKING_GRACE);
            Ok(end)
        }));
        match outcome {
            Ok(Ok(WorkerEnd::Quit { .. })) => {}
            Ok(Err(error)) => {
                let error: String = error;
                tracing::error!("worker {number} cannot start: {error}; continuing without it");
                shared.serving.fetch_sub(1, Ordering::SeqCst);
            }
            Ok(Ok(WorkerEnd::Failed)) | Err(_) => {
                tracing::error!(
                    "worker {number} failed; exiting, so that unitd starts another process"
                );
                std::process::exit(1);
            }
        }
    };
    thread::Builder::new()
        .name(format!("worker {number}"))
        .spawn(worker)
        .inspect_err(|error| {
            tracing::error!(
                "cannot create a thread for worker {number}: {error}; continuing without it"
            );
            process.serving.fetch_sub(1, Ordering::SeqCst);
        })
        .ok()
}

/// A runtime for one worker. The worker is a single task, which takes turns among its requests by
/// itself; it is `unconstrained`, since otherwise tokio's budget for one task would be shared by all of
/// its requests.
fn runtime() -> Result<Runtime, String> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| format!("cannot create a runtime: {error}"))
}
