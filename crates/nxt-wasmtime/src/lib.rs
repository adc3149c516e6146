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
//! - `entry` is what unitd sees: the module's entry in its table, and the two functions in it.
//! - `prototype`, `configuration` and `image` are the prototype's, `process`, `worker` and `bell` the
//!   application's.
//! - `context`, `request` and `shared_memory` own what libunit gives, and are the only ones to call it;
//!   `notices` is what they still have to tell the router. Each callback that C can make goes through
//!   `callback::guard`.
//!
//! What it does not do: say what an application does with a request. That is `unit-app`, which knows
//! no pointers.

mod callbacks;
mod configuration;
mod context;
mod deferred_wakeups;
mod entry;
mod event_loop;
mod ffi;
mod image;
mod lifecycle;
mod log;
mod port;
mod process;
mod prototype;
mod request;
mod shared_memory;
mod worker;
mod worker_waker;

/// The memory allocator that the rest of the product has. unitd's own allocations are not concerned.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
