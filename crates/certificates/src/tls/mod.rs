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
use sessions::Sessions;
use sni::Table;
use tickets::Ticketer;

/// The protocols that are spoken, the preferred one first. Clients of HTTP/1.0 that say so would
/// otherwise be turned away, since none of their protocols is here.
const PROTOCOLS: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

/// The TLS of one listener: TLS 1.2 and 1.3.
///
/// Its certificates can be replaced at any time, by [`update`](Self::update). Handshakes that begin
/// afterwards present the new ones; connections go on as they are, and sessions are taken up again,
/// as are tickets. All of these end with this value: other [`TlsOptions`] make another one.
#[derive(Clone, Debug)]
pub struct ServerTls {
    options: Arc<TlsOptions>,
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
}

impl ServerTls {
    /// Makes what these options ask for, with these certificates.
    ///
    /// # Errors
    ///
    /// If a certificate is missing, or if there are no random numbers for ticket keys.
    pub fn new(options: TlsOptions, certificates: &Certificates) -> Result<Self, TlsError> {
        Self::with_clock(options, certificates, Arc::new(DefaultTimeProvider))
    }

    /// The same with another clock for the age of sessions and tickets.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn with_clock(
        options: TlsOptions,
        certificates: &Certificates,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<Self, TlsError> {
        let table = Table::new(&options.certificates, certificates)?;
        let resolver = Arc::new(Resolver(ArcSwap::from_pointee(table)));
        let provider = Arc::new(default_provider());
        let mut config = ServerConfig::builder_with_details(provider, Arc::clone(&clock))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&resolver) as _);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // Unit's choice, too.
        config.ignore_client_order = true;

        let session = &options.session;
        config.session_storage = match session.cache_size {
            0 => Arc::new(NoServerSessionStorage {}),
            size => {
                let timeout = session.timeout.as_secs();
                Arc::new(Sessions::new(size, timeout, Arc::clone(&clock)))
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

    /// What a connection is accepted with. It is the same one after an [`update`](Self::update).
    #[must_use]
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// What this was made of. As long as they are the same, there is no need for another one.
    #[must_use]
    pub fn options(&self) -> &TlsOptions {
        &self.options
    }

    /// Presents these certificates from now on. Never waits.
    ///
    /// # Errors
    ///
    /// If a certificate is missing. Those that were there before are presented still.
    pub fn update(&self, certificates: &Certificates) -> Result<(), TlsError> {
        let table = Table::new(&self.options.certificates, certificates)?;
        self.resolver.0.store(Arc::new(table));
        Ok(())
    }

    /// What of the present certificates no client will see.
    #[must_use]
    pub fn warnings(&self) -> Vec<NameWarning> {
        self.resolver.0.load().warnings().to_vec()
    }
}

#[derive(Debug)]
struct Resolver(ArcSwap<Table>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.load();
        Some(Arc::clone(table.choose(hello.server_name())))
    }
}
