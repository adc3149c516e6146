use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use tracing::warn;

use crate::error::Fault;

/// The TLS of one client, made when it is first needed.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// `None` for the platform's.
    roots: Option<Arc<RootCertStore>>,
    config: Arc<OnceLock<Result<Arc<ClientConfig>, Fault>>>,
}

impl Tls {
    pub(crate) fn new(roots: Option<RootCertStore>) -> Self {
        Self {
            roots: roots.map(Arc::new),
            config: Arc::default(),
        }
    }

    pub(crate) async fn config(&self) -> Result<Arc<ClientConfig>, Fault> {
        if let Some(config) = self.config.get() {
            return config.clone();
        }
        // Hundreds of files may be read.
        let tls = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            let make = || make(tls.roots.clone().unwrap_or_else(platform_roots));
            tls.config.get_or_init(make).clone()
        });
        match made.await {
            Ok(config) => config,
            Err(error) => Err(Fault::Tls(error.to_string())),
        }
    }
}

fn make(roots: Arc<RootCertStore>) -> Result<Arc<ClientConfig>, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What this machine trusts, read once in a process: `SSL_CERT_FILE` and `SSL_CERT_DIR` if they are
/// set, else where the system keeps its certificates, else Mozilla's list as it was when this was
/// built.
fn platform_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in found.errors.iter().take(8) {
            warn!("cannot read a root certificate: {error}");
        }
        if found.errors.len() > 8 {
            warn!(
                "cannot read {} root certificates more",
                found.errors.len() - 8
            );
        }
        let mut roots = RootCertStore::empty();
        let (_, unusable) = roots.add_parsable_certificates(found.certs);
        if unusable > 0 {
            warn!("{unusable} root certificates of this machine cannot be used");
        }
        if roots.is_empty() {
            warn!("this machine has no root certificates; Mozilla's are used instead");
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
