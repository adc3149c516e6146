//! The TLS configuration of a client: trusted roots and ALPN.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use tracing::warn;

use crate::error::ConnectFault;

/// The TLS configuration of one client, created when it is first needed.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// `None`: the platform's.
    roots: Option<Arc<RootCertStore>>,
    config: Arc<OnceLock<Result<Arc<ClientConfig>, ConnectFault>>>,
}

impl Tls {
    pub(crate) fn new(roots: Option<RootCertStore>) -> Self {
        Self {
            roots: roots.map(Arc::new),
            config: Arc::default(),
        }
    }

    pub(crate) async fn config(&self) -> Result<Arc<ClientConfig>, ConnectFault> {
        if let Some(config) = self.config.get() {
            return config.clone();
        }
        // It may read hundreds of files.
        let tls = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            let make = || make(tls.roots.clone().unwrap_or_else(platform_roots));
            tls.config.get_or_init(make).clone()
        });
        match made.await {
            Ok(config) => config,
            Err(error) => Err(ConnectFault::Tls(error.to_string())),
        }
    }
}

fn make(roots: Arc<RootCertStore>) -> Result<Arc<ClientConfig>, ConnectFault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectFault::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The root certificates that this machine trusts, read once per process: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`
/// if they are set, else the system's, else Mozilla's list at the time of the build.
fn platform_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in found.errors.iter().take(8) {
            warn!("cannot read a root certificate; continuing without it: {error}");
        }
        if found.errors.len() > 8 {
            warn!(
                "cannot read another {} root certificates; continuing without them",
                found.errors.len() - 8
            );
        }
        let mut roots = RootCertStore::empty();
        let (_, unusable) = roots.add_parsable_certificates(found.certs);
        if unusable > 0 {
            warn!(
                "{unusable} root certificates of this machine are invalid; continuing without them"
            );
        }
        if roots.is_empty() {
            warn!("this machine has no root certificates; using the built-in list of Mozilla's");
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(roots)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_roots_on_every_machine_and_they_are_read_once() {
        assert!(!platform_roots().is_empty());
        assert!(Arc::ptr_eq(&platform_roots(), &platform_roots()));
        let tls = Tls::new(None);
        let config = tls.config().await.unwrap();
        assert!(Arc::ptr_eq(&config, &tls.clone().config().await.unwrap()));
    }
}
