//! A listener's `tls` object, except for `conf_commands`, which are OpenSSL's and are refused.

use std::time::Duration;

use super::ticket_key::TicketKey;

/// The options of a listener's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// `certificate`: the names of one or more bundles, among which [SNI](crate#sni) selects. The first one
    /// is the default.
    pub certificates: Vec<String>,
    /// `session`
    pub session: SessionOptions,
}

impl TlsOptions {
    /// These bundles, without session resumption.
    pub fn new<N: Into<String>>(certificates: impl IntoIterator<Item = N>) -> Self {
        Self {
            certificates: certificates.into_iter().map(Into::into).collect(),
            session: SessionOptions::default(),
        }
    }
}

/// A listener's `tls.session`: session resumption, which saves returning clients a part of the handshake.
/// Off by default, as in Unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// `cache_size`: the number of sessions in the server's session cache, each of some 200 bytes. Default:
    /// 0, no cache. A TLS 1.3 client gets two sessions with each connection, and uses each once. A full
    /// cache evicts the oldest session.
    pub cache_size: usize,
    /// `timeout`: how long a session can be resumed, in whole seconds. Default: 300 s.
    ///
    /// As in Unit, it also limits tickets if there is a cache; without a cache, tickets are valid for
    /// 2 hours, OpenSSL's default. No ticket is valid for more than 7 days (RFC 8446, section 4.6.1).
    pub timeout: Duration,
    /// `tickets`: session tickets, by which clients store the sessions. Default: off. With tickets, TLS 1.3
    /// does not use the cache.
    pub tickets: Tickets,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            cache_size: 0,
            timeout: Duration::from_secs(300),
            tickets: Tickets::Off,
        }
    }
}

impl SessionOptions {
    pub(crate) fn ticket_lifetime(&self) -> u64 {
        // OpenSSL's default, which Unit does not change if there is no cache.
        const WITHOUT_CACHE: u64 = 2 * 60 * 60;
        if self.cache_size == 0 {
            WITHOUT_CACHE
        } else {
            self.timeout.as_secs()
        }
    }
}

/// A listener's `tls.session.tickets`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tickets {
    /// `false`
    #[default]
    Off,
    /// `true`: with random keys, which are not shared with other servers and change with a restart.
    On,
    /// One or more keys. The last one encrypts new tickets, all of them decrypt. An empty list is
    /// [`Off`](Self::Off).
    Keys(Vec<TicketKey>),
}
