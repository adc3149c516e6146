//! Runs components of the worlds `wasi:http/proxy` (WASI 0.2) and `wasi:http/service` (0.3) in sandboxes: one
//! [`http::Request`] in, one fresh instance, one streamed [`http::Response`] out.
//!
//! ```
//! use engine::{Application, Component, Engine, Options, RequestId, Settings, Source};
//! use http::Request;
//! use http_body_util::{BodyExt as _, Empty};
//!
//! # let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello.wat"));
//! # let bytes = wat::parse_str(text)?;
//! // Once per process: instances, memory and files that all applications share.
//! let engine = Engine::new(&Options::default())?;
//!
//! // Once per component. Compiling blocks; `Component::load` reads a file.
//! let component = Component::compile(&engine, &Source::from_bytes("hello", bytes)?)?;
//! let application = Application::new(engine.clone(), component, Settings::new("hello"));
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! runtime.block_on(async {
//!     let request = Request::get("/").header("host", "example.com");
//!     let request = request.body(Empty::<bytes::Bytes>::new())?;
//!     let response = application.handle(RequestId::next(), request).await?;
//!     assert_eq!(response.status(), 200);
//!     let body = response.into_body().collect().await?.to_bytes();
//!     assert!(body.is_empty());
//!
//!     // A graceful shutdown waits for guests that still work after their responses.
//!     engine.wait_idle().await;
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Behind a server of hyper or tower, [`Application::service`] is all that it takes: see `examples/embed.rs`.
//!
//! ```text
//!   file ──Component::load──▶ Component ──Application::new──▶ Application
//!                                                                │
//!   http::Request ──────────────────Application::handle──────────┤
//!                                                                ▼
//!          Failure  ◀── no response of the guest ──  Store + Instance, for one request
//!                                                                │
//!   http::Response<Body>  ◀── head, then frames as the guest writes them
//! ```
//!
//! What the crate promises:
//!
//! - Every request gets a new [`wasmtime::Store`] and instance, destroyed when the request ends, except in
//!   applications whose [`Instances`] say otherwise.
//! - A guest runs inside the future that serves its request: dropping that future, or the response's [`Body`],
//!   cancels the instance. Nothing else keeps the instance alive, with two exceptions: a guest that
//!   computes for long is offloaded to a task of [`Options::background`], and requests that share an instance
//!   cannot cancel it.
//! - Bodies stream in both directions, with back-pressure. The host buffers at most [`OUTGOING_BUFFER`] bytes of a
//!   response.
//! - Whatever a guest does ends in a response, a [`Failure`], or a [`Body`] that ends in an error; never in a
//!   panic, and never in a body that looks complete and is not.
//! - A guest has the environment, the folders and the outgoing requests that its [`Settings`] allow, and
//!   nothing else: no other files, no sockets.
//!
//! What it does not do: sockets, configuration text, NGINX Unit. Futures must be polled inside a tokio runtime
//! with time enabled.
//!
//! # Modules
//!
//! Each uses only those below it.
//!
//! | module | owns |
//! | --- | --- |
//! | `service` | an application as a service of hyper and tower |
//! | `handle` | the way of one request through the modules below |
//! | `shared` | instances that serve several requests at the same time |
//! | `response` | when the head goes out, and with which body |
//! | `run` | a guest at work on one request, offload |
//! | `application` | a component with its settings, its shares and its counters |
//! | `stats` | what is counted, for each application |
//! | `component` | loading, compiling and linking components |
//! | `engine` | instances and who gets one, the epoch, the background |
//! | `sandbox` | one instance with its store, WASI and memory account; knows no application |
//! | `scheduling`, `budget` | fair turns by processor time, fair shares of instances, memory and files |
//! | `settings`, `trailers`, `failure` | what is configured; trailers over HTTP/1; failures |

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
mod service;
mod settings;
mod shared;
mod stats;
mod trailers;
#[cfg(test)]
mod wat_guest;

pub use application::Application;
pub use component::Component;
pub use component::error::LoadError;
pub use component::source::Source;
pub use engine::code_memory::CodeMemory;
pub use engine::{Engine, EngineError, Options};
pub use failure::cut_off::CutOff;
pub use failure::kind::FailureKind;
pub use failure::{Answer, Failure};
pub use http_message::FlushFirst;
pub use outbound_policy::Policy as OutboundPolicy;
pub use response::body::Body;
pub use sandbox::guest::OUTGOING_BUFFER;
pub use sandbox::request::RequestBodyError;
pub use service::ApplicationService;
pub use settings::authority::GuestAuthority;
pub use settings::directory::{Access, Directory};
pub use settings::limits::Limits;
pub use settings::{Instances, Settings};
pub use stats::ApplicationStats;
pub use trailers::Http1Trailers;
pub use unit_log::{Output, OutputError, OutputFile, OutputFiles, RequestId, needs_escape};
