//! The TLS of the listeners. It is kept while a listener's options stay the same, so that connections, sessions and
//! tickets survive all other changes, new certificates included.

use std::collections::HashMap;
use std::sync::Arc;

use certificates::{Certificates, ServerTls, TlsOptions};
use config::Listener;
use control::PrepareError;
use rustls::ServerConfig;
use server::Address;

use crate::addresses::address;

/// By address, for the listeners that have TLS and can be served.
#[derive(Clone, Default)]
pub(crate) struct ListenerTls(HashMap<Address, ServerTls>);

impl ListenerTls {
    /// The TLS of `listeners`. Has no effect on connections before [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// When a listener cannot be served. If `is_lenient` returns true for it, it is left out instead, with an error in
    /// the log.
    pub(crate) fn prepare(
        &self,
        listeners: &[Listener],
        certificates: &Certificates,
        is_lenient: impl Fn(&Listener) -> bool,
    ) -> Result<Self, PrepareError> {
        let mut prepared = HashMap::new();
        for listener in listeners {
            let Some(options) = &listener.tls else {
                continue;
            };
            let address = address(listener);
            match self.kept_or_new(&address, options, certificates) {
                Ok(tls) => {
                    prepared.insert(address, tls);
                }
                Err(detail) if is_lenient(listener) => {
                    let name = listener.address.name();
                    tracing::error!(
                        "{name}: cannot set TLS up: {detail}; not listening there until a new configuration or certificate"
                    );
                }
                Err(detail) => {
                    let path = listener.path().join("tls").join("certificate");
                    return Err(PrepareError {
                        path: Some(path),
                        detail,
                    });
                }
            }
        }
        Ok(Self(prepared))
    }

    fn kept_or_new(
        &self,
        address: &Address,
        options: &TlsOptions,
        certificates: &Certificates,
    ) -> Result<ServerTls, String> {
        let kept = self.0.get(address);
        if let Some(kept) = kept.filter(|kept| kept.options() == options) {
            return Ok(kept.clone());
        }
        let tls = ServerTls::new(options.clone(), certificates);
        let tls = tls.map_err(|error| error.to_string())?;
        for warning in tls.warnings() {
            tracing::warn!("{address}: {warning}");
        }
        Ok(tls)
    }

    /// Has all listeners present these certificates from now on.
    pub(crate) fn update(&self, certificates: &Certificates) {
        for (address, tls) in &self.0 {
            let before = tls.warnings();
            if let Err(error) = tls.update(certificates) {
                tracing::error!(
                    "{address}: cannot use the new certificates: {error}; keeping the current ones"
                );
            }
            for warning in tls.warnings() {
                if !before.contains(&warning) {
                    tracing::warn!("{address}: {warning}");
                }
            }
        }
    }

    /// The configuration for a listener's handshakes.
    pub(crate) fn of(&self, listener: &Listener) -> Option<Arc<ServerConfig>> {
        let tls = self.0.get(&address(listener))?;
        Some(Arc::clone(tls.config()))
    }

    /// Whether the listener has no TLS, or its TLS has been prepared.
    pub(crate) fn serves(&self, listener: &Listener) -> bool {
        listener.tls.is_none() || self.0.contains_key(&address(listener))
    }
}
