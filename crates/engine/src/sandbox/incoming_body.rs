//! Errors of bodies that a guest of WASI 0.2 reads.
//!
//! In `wasmtime-wasi-http` 48, `http-error-code` knows no error of a body, and the trailers of a body that
//! has failed are those of a finished one. The functions here take the place of its own.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::{DynInputStream, InputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody, HostIncomingBodyStream};
use wasmtime_wasi_io::IoView as _;

use crate::failure::error_code;
use crate::sandbox::guest::Guest;

/// The interface as `wasmtime-wasi-http` calls it. With another version, components would be linked
/// with its own functions.
const TYPES: &str = "wasi:http/types@0.2.12";

/// Replaces what reads bodies, which must be linked already.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.resource(
        "incoming-body",
        ResourceType::host::<HostIncomingBody>(),
        |mut store, rep| forget(store.data_mut(), rep),
    )?;
    types.func_wrap(
        "[method]incoming-body.stream",
        |mut store: StoreContextMut<'_, Guest>, (body,): (Resource<HostIncomingBody>,)| {
            Ok((stream(store.data_mut(), &body)?,))
        },
    )?;
    types.func_wrap(
        "[static]incoming-body.finish",
        |mut store: StoreContextMut<'_, Guest>, (body,): (Resource<HostIncomingBody>,)| {
            Ok((finish(store.data_mut(), body)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The bodies that a guest reads, by their handles on the host's side, and why they have failed.
#[derive(Default)]
pub(crate) struct BodyFailures(Vec<(u32, BodyFailure)>);

/// Why a body has failed, once it has.
type BodyFailure = Arc<OnceLock<ErrorCode>>;

impl BodyFailures {
    fn add(&mut self, body: u32) -> BodyFailure {
        let failure = BodyFailure::default();
        self.0.push((body, Arc::clone(&failure)));
        failure
    }

    fn remove(&mut self, body: u32) -> Option<BodyFailure> {
        let index = self.0.iter().position(|(other, _)| *other == body)?;
        Some(self.0.swap_remove(index).1)
    }
}

/// `incoming-body.stream`
fn stream(
    guest: &mut Guest,
    body: &Resource<HostIncomingBody>,
) -> wasmtime::Result<Result<Resource<DynInputStream>, ()>> {
    let Some(stream) = guest.table().get_mut(body)?.take_stream() else {
        return Ok(Err(()));
    };
    let failure = guest.body_failures().add(body.rep());
    let stream: DynInputStream = Box::new(BodyStream { stream, failure });
    Ok(Ok(guest.table().push_child(stream, body)?))
}

/// `incoming-body.finish`. A guest has dropped the body's stream before.
fn finish(
    guest: &mut Guest,
    body: Resource<HostIncomingBody>,
) -> wasmtime::Result<Resource<HostFutureTrailers>> {
    let failures = guest.known_body_failures();
    let failure = failures.and_then(|it| it.remove(body.rep()));
    let body = guest.table().delete(body)?;
    let trailers = match failure.as_ref().and_then(|failure| failure.get()) {
        Some(code) => HostFutureTrailers::Done(Err(Error::from(code.clone()))),
        None => body.into_future_trailers(),
    };
    Ok(guest.table().push(trailers)?)
}

/// Drops an `incoming-body`.
fn forget(guest: &mut Guest, body: u32) -> wasmtime::Result<()> {
    if let Some(failures) = guest.known_body_failures() {
        failures.remove(body);
    }
    guest
        .table()
        .delete(Resource::<HostIncomingBody>::new_own(body))?;
    Ok(())
}

/// The stream of a body, whose error is one that `http-error-code` knows.
struct BodyStream {
    stream: HostIncomingBodyStream,
    failure: BodyFailure,
}

impl InputStream for BodyStream {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.stream.read(size).map_err(|error| match error {
            StreamError::LastOperationFailed(error) => match error.downcast::<Error>() {
                Ok(error) => {
                    let code = error_code::of_body(error);
                    let _ = self.failure.set(code.clone());
                    StreamError::LastOperationFailed(code.into())
                }
                Err(other) => StreamError::LastOperationFailed(other),
            },
            other => other,
        })
    }
}

impl Pollable for BodyStream {
    // What `#[async_trait]` makes of an `async fn`.
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        self.stream.ready()
    }
}
