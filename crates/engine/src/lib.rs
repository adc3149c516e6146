//! Runs components of the worlds `wasi:http/proxy` (WASI 0.2) and `wasi:http/service` (0.3): one
//! [`http::Request`] in, one fresh instance, one streamed [`http::Response`] out.
//!
//! ```text
//!   file ──Component::load──▶ Component ──Application::new──▶ Application
//!                                                                │
//!   http::Request ──────────────────Application::handle──────────┤
//!                                                                ▼
//!          Failure  ◀── no whole response ──  Store + Instance (one request's own)
//!                                                                │
//!   http::Response<Body>  ◀── head, then frames as the guest writes them
//! ```
//!
//! What the crate promises:
//!
//! - Every request gets a new [`wasmtime::Store`] and instance, destroyed when the request ends,
//!   but for applications whose [`Instances`] say otherwise.
//! - A guest runs inside the future that serves its request: whoever drops that future, or the
//!   response's [`Body`], cancels the instance. There is no task, queue or lock between the two, but
//!   where a guest computes for long, which then goes on in a task of [`Options::background`], and
//!   where several requests share an instance, which none of them may cancel.
//! - Bodies stream both ways. What the host holds of a response is bounded by
//!   [`OUTGOING_BUFFER`] bytes.
//! - Whatever a guest does ends in a response, a [`Failure`], or a [`Body`] that ends in an
//!   error; never in a panic, and never in a body that looks whole and is not.
//! - A guest has the environment, the folders and the servers to call that it was given and nothing
//!   else: no other files, no sockets.
//!
//! What it does not do: sockets, configuration text, Unit. Futures must be polled inside a tokio
//! runtime with time enabled.

mod application;
mod authority;
mod body;
mod component;
mod directory;
mod egress;
mod epoch;
mod error_code;
mod failure;
mod failure_kind;
mod figures;
mod gate;
mod guest;
mod guest_files;
mod handle;
mod host_body;
mod idle;
mod incoming_body;
mod instance;
mod instance_pool;
mod lent;
mod limits;
mod log;
mod machine;
mod moved;
mod open_files;
mod outgoing;
mod proxy;
mod request;
mod request_id;
mod rounds;
mod run;
mod runtime;
mod service;
mod share;
mod shared;
mod stacks;
mod stopwatch;
mod trailers;
mod turns;
mod waiting;
mod wasi;
#[cfg(test)]
mod wat_guest;

pub use application::{Application, Instances, Settings};
pub use authority::GuestAuthority;
pub use body::{Body, CutOff};
pub use component::{Component, LoadError, Source};
pub use directory::{Access, Directory};
pub use failure::{Answer, Failure};
pub use failure_kind::FailureKind;
pub use figures::Figures;
pub use guest::OUTGOING_BUFFER;
pub use limits::Limits;
pub use log::{Output, OutputError, OutputFile, OutputFiles};
pub use request::RequestBodyError;
pub use request_id::RequestId;
pub use runtime::{Engine, EngineError, Options};
pub use trailers::Http1Trailers;
pub use unit_log::needs_escape as is_active;
