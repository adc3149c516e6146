//! Errors of bodies that a guest of WASI 0.2 reads: functions that shadow those of `wasmtime-wasi-http`.
//!
//! In its version 48, `http-error-code` returns nothing for the error of a body, and the trailers of a body
//! that has failed are those of a complete one: a guest could take a truncated upload for a whole one.

use std::pin::Pin;

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::{DynInputStream, InputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody, HostIncomingBodyStream};
use wasmtime_wasi_io::IoView as _;

use crate::failure::error_code;
use crate::sandbox::body_failures::BodyFailure;
use crate::sandbox::guest::Guest;

/// The interface in the version that `wasmtime-wasi-http` links. Under another name, the functions here would
/// shadow nothing.
const TYPES: &str = "wasi:http/types@0.2.12";

/// Shadows the functions that read bodies. Those of `wasmtime-wasi-http` must be linked already.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.resource(
        "incoming-body",
        ResourceType::host::<HostIncomingBody>(),
        |mut store, rep| drop_body(store.data_mut(), rep),
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

/// `incoming-body.stream`
fn stream(
    guest: &mut Guest,
    body: &Resource<HostIncomingBody>,
) -> wasmtime::Result<Result<Resource<DynInputStream>, ()>> {
    let Some(stream) = guest.table().get_mut(body)?.take_stream() else {
        return Ok(Err(()));
    };
    let failure = guest.body_failures().add(body.rep());
    let stream: DynInputStream = Box::new(IncomingBodyStream { stream, failure });
    Ok(Ok(guest.table().push_child(stream, body)?))
}

/// `incoming-body.finish`. The guest has to have dropped the body's stream before.
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

/// The destructor of `incoming-body`.
fn drop_body(guest: &mut Guest, body: u32) -> wasmtime::Result<()> {
    if let Some(failures) = guest.known_body_failures() {
        failures.remove(body);
    }
    guest
        .table()
        .delete(Resource::<HostIncomingBody>::new_own(body))?;
    Ok(())
}

/// The stream of a body, with its error as one that `http-error-code` understands.
struct IncomingBodyStream {
    stream: HostIncomingBodyStream,
    failure: BodyFailure,
}

impl InputStream for IncomingBodyStream {
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

impl Pollable for IncomingBodyStream {
    // The signature that `#[async_trait]` generates for `async fn ready`.
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        self.stream.ready()
    }
}
