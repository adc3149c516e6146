//! The language module that NGINX Unit's `unitd` loads to run components of the `wasi:http/proxy`
//! world.
//!
//! ```text
//!  prototype process           application processes (forked from it)
//!  ─────────────────           ──────────────────────────────────────
//!  setup() ─▶ Configuration    start() ─▶ Engine, Application ◀── the image, mapped
//!          └▶ Image                    └▶ worker threads, each with a libunit context
//!             (compiled once,                │ and a runtime of its own
//!              in a child)                   ▼
//!                              request_handler ─▶ Request ─▶ unit_app::serve
//! ```
//!
//! From top to bottom, none of them uses one above it:
//!
//! - `entry` is what unitd sees: the module's entry, with `setup()` and `start()`.
//! - `lifecycle` runs an application process, and `event_loop` each of its workers.
//! - `context` owns a libunit context; `callbacks` are the functions that libunit calls.
//! - `worker` is the state that the callbacks share with the loop, `process` what the workers share.
//! - `request` owns a request; `response_memory` and `shared_memory` are where it writes its response.
//! - `port` and `deferred_wakeups` receive from, and send to, Unit's other processes; `worker_waker`
//!   wakes other workers of this one.
//! - `prototype`, `image`, `configuration` and `isolation` are the prototype process's work.
//! - `log` sets `tracing` up, and writes alerts to Unit's log.
//! - Every function that C calls goes through `ffi::guard`.
//!
//! Not here: what an application does with a request. That is in `unit-app`, which has no pointers.

mod callbacks;
mod configuration;
mod context;
mod deferred_wakeups;
mod entry;
mod event_loop;
mod ffi;
mod image;
mod isolation;
mod lifecycle;
mod log;
mod port;
mod process;
mod prototype;
mod request;
mod response_memory;
mod shared_memory;
mod worker;
mod worker_waker;

/// The daemon's allocator. unitd's own allocations in C do not use it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
