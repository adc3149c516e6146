use std::time::Duration;

use super::ticket_key::TicketKey;

/// A listener's `tls`, but for `conf_commands`, which are OpenSSL's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// `certificate`: the names of one or more bundles. The first is for clients that ask for no
    /// name, or for one that no bundle has.
    pub certificates: Vec<String>,
    /// `session`
    pub session: SessionOptions,
}

impl TlsOptions {
    /// These bundles, and no sessions.
    pub fn new<N: Into<String>>(certificates: impl IntoIterator<Item = N>) -> Self {
        Self {
            certificates: certificates.into_iter().map(Into::into).collect(),
            session: SessionOptions::default(),
        }
    }
}

/// A listener's `tls.session`: how clients that come back are spared half of the handshake. As in
/// Unit, none are by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// `cache_size`: how many sessions the server keeps in its memory, each some 200 bytes. Default:
    /// 0, for none. A client of TLS 1.3 gets two with each connection, and uses each once. When there
    /// are more, the oldest is forgotten.
    pub cache_size: usize,
    /// `timeout`: for how long a session is taken up again, in whole seconds. Default: 300 s.
    ///
    /// As in Unit, it is about tickets, too, if there is a cache; without one, tickets live for
    /// 2 hours, OpenSSL's default. No ticket lives for more than 7 days (RFC 8446).
    pub timeout: Duration,
    /// `tickets`: whether clients keep their sessions. Default: no. With tickets, TLS 1.3 has no use
    /// for the cache.
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
        // OpenSSL's default, which Unit leaves in force if there is no cache.
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
    /// `true`: with random keys, which no other server has, and which a restart changes.
    On,
    /// A key, or a list of keys. The last one makes tickets, all of them take tickets back. An empty
    /// list is [`Off`](Self::Off).
    Keys(Vec<TicketKey>),
}
