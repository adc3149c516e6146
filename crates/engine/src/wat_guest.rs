//! Guests in the WebAssembly text format, for what compilers do not generate. For tests only.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};

use crate::{
    Application, Component, Engine, Failure, Options, RequestBodyError, RequestId, Settings, Source,
};

/// An application of a component of WASI 0.2 whose handler is the function `handle` of the core module
/// `$module`: it takes two handles, and returns nothing.
pub(crate) fn application(module: &str, settings: Settings) -> Application {
    let core = format!("{module} (core instance $core (instantiate $module))");
    importing("", &core, settings)
}

/// The same with more of `wasi:http/types`, for the core instance `$core` that is defined here.
pub(crate) fn importing(types: &str, core: &str, settings: Settings) -> Application {
    let text = format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))
                {types}
            ))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            {core}
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $core "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler))
        )"#
    );
    let source = Source::from_bytes("guest.wat", wat::parse_str(text).unwrap()).unwrap();
    let engine = Engine::new(&Options {
        instances: 2,
        ..Options::default()
    });
    let engine = engine.unwrap();
    let component = Component::compile(&engine, &source).unwrap();
    Application::new(engine, component, settings)
}

/// The failure of a request to such a guest, which cannot answer.
pub(crate) fn failure(application: &Application) -> Failure {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let body = Empty::<Bytes>::new().map_err(|never| -> RequestBodyError { match never {} });
    let request = Request::get("http://localhost/").body(body).unwrap();
    let response = runtime.block_on(application.handle(RequestId::next(), request));
    response.map(drop).unwrap_err()
}
