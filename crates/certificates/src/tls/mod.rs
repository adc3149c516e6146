//! The TLS of one listener: certificates by SNI, and session resumption, for rustls.

mod error;
mod options;
mod sessions;
mod sni;
mod ticket_key;
mod tickets;

pub use error::TlsError;
pub use options::{SessionOptions, Tickets, TlsOptions};
pub use sni::NameWarning;
pub use ticket_key::{TicketKey, TicketKeyError};

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use crate::Certificates;
use sessions::SessionCache;
use sni::SniTable;
use tickets::Ticketer;

/// The ALPN protocols, in order of preference. `http/1.0` is here because rustls fails the handshake if a
/// client offers protocols, and none of them is in this list.
const PROTOCOLS: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

/// The TLS of one listener: TLS 1.2 and 1.3.
///
/// Its certificates can be replaced at any time, by [`update`](Self::update): handshakes that begin
/// afterwards present the new ones. Established connections are not affected, and sessions and tickets can
/// still be resumed. They cannot with a new `ServerTls`, which other [`TlsOptions`] need.
#[derive(Clone, Debug)]
pub struct ServerTls {
    options: Arc<TlsOptions>,
    config: Arc<ServerConfig>,
    resolver: Arc<SniResolver>,
}

impl ServerTls {
    /// Sets up TLS with these options and certificates.
    ///
    /// # Errors
    ///
    /// If a certificate is missing, or if there are no random numbers for ticket keys.
    pub fn new(options: TlsOptions, certificates: &Certificates) -> Result<Self, TlsError> {
        Self::with_clock(options, certificates, Arc::new(DefaultTimeProvider))
    }

    /// Like [`new`](Self::new), with another clock for the age of sessions and tickets.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn with_clock(
        options: TlsOptions,
        certificates: &Certificates,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<Self, TlsError> {
        let table = SniTable::new(&options.certificates, certificates)?;
        let resolver = Arc::new(SniResolver(ArcSwap::from_pointee(table)));
        let provider = Arc::new(default_provider());
        let mut config = ServerConfig::builder_with_details(provider, Arc::clone(&clock))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&resolver) as _);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // As in Unit: the server's order of cipher suites counts.
        config.ignore_client_order = true;

        let session = &options.session;
        config.session_storage = match session.cache_size {
            0 => Arc::new(NoServerSessionStorage {}),
            size => {
                let timeout = session.timeout.as_secs();
                Arc::new(SessionCache::new(size, timeout, Arc::clone(&clock)))
            }
        };
        let lifetime = session.ticket_lifetime();
        match &session.tickets {
            Tickets::Off => {}
            Tickets::Keys(keys) if keys.is_empty() => {}
            Tickets::On => config.ticketer = Arc::new(Ticketer::random(lifetime, clock)?),
            Tickets::Keys(keys) => {
                config.ticketer = Arc::new(Ticketer::given(keys, lifetime, clock));
            }
        }
        Ok(Self {
            options: Arc::new(options),
            config: Arc::new(config),
            resolver,
        })
    }

    /// The configuration for rustls. An [`update`](Self::update) does not replace it.
    #[must_use]
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The options. A reconfiguration with the same options keeps this value.
    #[must_use]
    pub fn options(&self) -> &TlsOptions {
        &self.options
    }

    /// Presents these certificates in future handshakes. Never waits.
    ///
    /// # Errors
    ///
    /// If a certificate is missing. Then the previous ones stay.
    pub fn update(&self, certificates: &Certificates) -> Result<(), TlsError> {
        let table = SniTable::new(&self.options.certificates, certificates)?;
        self.resolver.0.store(Arc::new(table));
        Ok(())
    }

    /// The names, and the bundles among several, that SNI can never select.
    #[must_use]
    pub fn warnings(&self) -> Vec<NameWarning> {
        self.resolver.0.load().warnings().to_vec()
    }
}

#[derive(Debug)]
struct SniResolver(ArcSwap<SniTable>);

impl ResolvesServerCert for SniResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.load();
        Some(Arc::clone(table.certificate_for(hello.server_name())))
    }
}
