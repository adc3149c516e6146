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
use crate::event_loop::{self, End};
use crate::port::Watch;
use crate::process::Process;
use crate::prototype::Prototype;

/// Threads per worker on which files are read and written, which may block.
const BLOCKING_THREADS: usize = 16;

/// How long guests that work on after their response are waited for at the end.
const FINISH: Duration = Duration::from_secs(5);

/// How often the end of the other workers is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// How long work on such threads is waited for at the end.
const BLOCKED: Duration = Duration::from_secs(1);

/// Runs the process until unitd ends it.
///
/// # Errors
///
/// In one sentence, for the log, when it cannot be started.
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
    // For what libunit's callbacks want to watch.
    let inside = runtime.enter();
    // SAFETY: by the caller's promise.
    let context = unsafe { UnitContext::main(task, conf, Arc::clone(&process)) }?;
    tracing::info!(
        application = &*prototype.configuration.name,
        "ready with {} threads for {} requests at a time",
        process.bells.len(),
        process.engine.instances()
    );
    let mut others = Vec::new();
    let start_others = || {
        others = (1..process.bells.len())
            .filter_map(|number| start_other(context.as_main(), &process, number))
            .collect();
    };
    let own_port = context.worker().own_port();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(unconstrained(async {
            let end = event_loop::run(&context, start_others).await;
            if let End::Quit { cut_off } = end {
                wind_up(&process, &context, own_port, cut_off).await;
            }
            end
        }))
    }));
    if !matches!(outcome, Ok(End::Quit { .. })) {
        // The other workers may be in the middle of something, and need what would be dropped here.
        // unitd starts another process when this one ends.
        tracing::error!("the main worker has failed, and the process ends");
        std::process::exit(1);
    }
    process.closed.send_replace(true);
    for other in others {
        // A worker's panic ends the process before this.
        let _ = other.join();
    }
    drop(context);
    drop(inside);
    runtime.shutdown_timeout(BLOCKED);
    Ok(())
}

/// Waits for the other workers' requests, after the main context has ended, then for guests that work
/// behind their responses.
async fn wind_up(process: &Process, context: &UnitContext, own_port: Option<Watch>, cut_off: bool) {
    if cut_off {
        process.end();
    }
    while process.at_work.load(Ordering::SeqCst) > 0 {
        // libunit is told by this port, and no other, that the router is gone.
        if let Some(port) = &own_port {
            for _ in 0..64 {
                if context.receive(port.get_ref()) != Received::Message {
                    break;
                }
            }
        }
        if context.worker().notices().is_anyone_gone() {
            process.end_without_router();
        }
        tokio::time::sleep(LOOK).await;
    }
    if !process.must_end() {
        // Those that take longer are cancelled with their runtimes.
        let _ = tokio::time::timeout(FINISH, process.engine.idle()).await;
    }
}

/// Starts a further worker.
fn start_other(main: MainContext, process: &Arc<Process>, number: usize) -> Option<JoinHandle<()>> {
    process.at_work.fetch_add(1, Ordering::SeqCst);
    let shared = Arc::clone(process);
    let worker = move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let runtime = runtime()?;
            let inside = runtime.enter();
            // SAFETY: the main context's thread waits for this one before it drops the context, and
            // ends the process when it cannot.
            let context = unsafe { UnitContext::further(main, Arc::clone(&shared), number) }?;
            let mut closed = shared.closed.subscribe();
            let end = runtime.block_on(unconstrained(async {
                let end = event_loop::run(&context, || {}).await;
                if end != End::Failed {
                    shared.at_work.fetch_sub(1, Ordering::SeqCst);
                    // Guests of this worker may still be at work behind their responses.
                    let _ = closed.wait_for(|closed| *closed).await;
                }
                end
            }));
            drop(context);
            drop(inside);
            runtime.shutdown_timeout(BLOCKED);
            Ok(end)
        }));
        match outcome {
            Ok(Ok(End::Quit { .. })) => {}
            Ok(Err(error)) => {
                let error: String = error;
                tracing::error!("worker {number} cannot start: {error}");
                shared.at_work.fetch_sub(1, Ordering::SeqCst);
            }
            // unitd starts another process when this one ends.
            Ok(Ok(End::Failed)) | Err(_) => {
                tracing::error!("worker {number} has failed, and the process ends");
                std::process::exit(1);
            }
        }
    };
    thread::Builder::new()
        .name(format!("worker {number}"))
        .spawn(worker)
        .inspect_err(|error| {
            tracing::error!("no thread for worker {number}: {error}");
            process.at_work.fetch_sub(1, Ordering::SeqCst);
        })
        .ok()
}

/// A runtime for one worker, which is one task of it, and takes turns among its requests by itself:
/// hence `unconstrained`, for tokio would share one task's turn among all of them.
fn runtime() -> Result<Runtime, String> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| format!("no runtime: {error}"))
}
