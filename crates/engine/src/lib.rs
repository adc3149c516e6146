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
mod budget;
mod component;
mod engine;
mod failure;
mod handle;
mod response;
mod run;
mod sandbox;
mod scheduling;
mod settings;
mod shared;
mod stats;
mod trailers;
#[cfg(test)]
mod wat_guest;

pub use application::{Application, Instances, Settings};
pub use component::{Component, LoadError, Source};
pub use engine::{Engine, EngineError, Options};
pub use failure::kind::FailureKind;
pub use failure::{Answer, Failure};
pub use response::body::{Body, CutOff};
pub use sandbox::directory::{Access, Directory};
pub use sandbox::guest::OUTGOING_BUFFER;
pub use sandbox::memory::Limits;
pub use sandbox::request::RequestBodyError;
pub use settings::authority::GuestAuthority;
pub use stats::Figures;
pub use trailers::Http1Trailers;
pub use unit_log::{Output, OutputError, OutputFile, OutputFiles, RequestId, needs_escape};
