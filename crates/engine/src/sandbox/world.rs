//! The worlds of WASI that components are hosted in, recognised by their exports. The next world is one more
//! variant here, and one more arm in [`Sandbox::serve`](crate::sandbox::Sandbox::serve).

use wasmtime::component::types::ComponentItem;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::sandbox::flavor::Flavor;
use crate::sandbox::guest::Guest;

/// A linked component, by the world that it exports.
#[derive(Clone)]
pub(crate) enum World {
    /// `wasi:http/proxy` of WASI 0.2, any point release.
    Proxy02(ProxyPre<Guest>),
    /// `wasi:http/service` of WASI 0.3.
    Service03(ServicePre<Guest>),
}

/// Why a component fits no world.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorldError {
    #[error("cannot be linked: {error:#}")]
    Link {
        error: wasmtime::Error,
        /// It imports something of WASI 0.3.
        wants_03: bool,
    },
    #[error(
        "exports neither wasi:http/incoming-handler@0.2, as a component of the wasi:http/proxy \
         world does, nor wasi:http/handler@0.3, as one of wasi:http/service does; its exported \
         interfaces: {}", list(.0)
    )]
    NoHandler(Vec<String>),
}

impl World {
    /// Links a component.
    pub(crate) fn of(
        flavor: &Flavor,
        component: &wasmtime::component::Component,
    ) -> Result<Self, WorldError> {
        let types = component.component_type();
        let exports: Vec<String> = types
            .exports(&flavor.wasmtime)
            .filter(|(_, export)| matches!(export.ty, ComponentItem::ComponentInstance(_)))
            .map(|(name, _)| name.to_owned())
            .collect();
        let has = |interface: &str| exports.iter().any(|name| name.starts_with(interface));
        let unlinked = |error| WorldError::Link {
            error,
            wants_03: types
                .imports(&flavor.wasmtime)
                .any(|(name, _)| name.contains("@0.3.")),
        };
        let link = || flavor.linker.instantiate_pre(component);
        // A component with both exports is called through the newer one.
        if has("wasi:http/handler@0.3.") {
            let service = link().and_then(ServicePre::new).map_err(unlinked)?;
            return Ok(Self::Service03(service));
        }
        if has("wasi:http/incoming-handler@0.2.") {
            let proxy = link().and_then(ProxyPre::new).map_err(unlinked)?;
            return Ok(Self::Proxy02(proxy));
        }
        Err(WorldError::NoHandler(exports))
    }

    /// Whether an instance can serve several requests at the same time.
    pub(crate) fn is_concurrent(&self) -> bool {
        match self {
            Self::Proxy02(_) => false,
            Self::Service03(_) => true,
        }
    }

    /// The Wasmtime engine that the component's stores belong to.
    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        match self {
            Self::Proxy02(pre) => pre.engine(),
            Self::Service03(pre) => pre.engine(),
        }
    }

    /// The compiled component.
    pub(crate) fn component(&self) -> &wasmtime::component::Component {
        match self {
            Self::Proxy02(pre) => pre.instance_pre().component(),
            Self::Service03(pre) => pre.instance_pre().component(),
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
