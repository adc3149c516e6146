//! `upstreams` and `proxy`: other servers, their addresses and weights for load balancing.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::address;
use super::error::ConfigError;
use super::schema::{Checker, Kinds, Member, shortened};
use crate::Value;

/// One member of `upstreams`: servers with load balancing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The name in `pass`.
    pub name: String,
    /// In the order of the text. May be empty, as in Unit.
    pub servers: Vec<UpstreamServer>,
}

/// One member of `servers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// The server's address.
    pub address: ServerAddress,
    /// The server's weight for load balancing.
    pub weight: Weight,
}

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// A TCP address. `*:80` is accepted for other servers, too, and reaches this machine.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The name of a Unix socket in Linux' abstract namespace.
    Abstract(String),
}

/// A weight from 0 to 1,000,000, with or without a fraction, relative to those of the upstream's other servers. The
/// default is 1; a server with 0 gets no requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight(f64);

impl Weight {
    /// The weight as a number.
    #[must_use]
    pub fn number(self) -> f64 {
        self.0
    }
}

/// Sound, since it is never NaN.
impl Eq for Weight {}

impl Default for Weight {
    fn default() -> Self {
        Self(1.0)
    }
}

impl ServerAddress {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(path) = address::unix(text) {
            return Some(match path.strip_prefix('@') {
                Some(name) => Self::Abstract(name.to_owned()),
                None => Self::Unix(path.into()),
            });
        }
        address::inet(text).map(Self::Tcp)
    }
}

const UPSTREAM: &[Member] = &[Member::optional("servers", Kinds::OBJECT)];

const SERVER: &[Member] = &[Member::optional("weight", Kinds::NUMBER)];

const MOST_WEIGHT: f64 = 1_000_000.0;

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    name: &str,
    value: &'a Value,
) -> Result<Upstream, ConfigError> {
    checker.kind(Some(name), value, Kinds::OBJECT)?;
    let mut servers = None;
    checker.members(value, &[UPSTREAM], |checker, _, value| {
        let listed = servers.insert(Vec::new());
        checker.each(value, |checker, name, value| {
            listed.push(server(checker, name, value)?);
            Ok(())
        })
    })?;
    let Some(servers) = servers else {
        return checker.at("servers", |checker| {
            let name = shortened(name);
            Err(checker.error(format!(
                "The \"{name}\" upstream must contain \"servers\" object value."
            )))
        });
    };
    Ok(Upstream {
        name: name.to_owned(),
        servers,
    })
}

fn server<'a>(
    checker: &mut Checker<'a>,
    name: &str,
    value: &'a Value,
) -> Result<UpstreamServer, ConfigError> {
    checker.kind(Some(name), value, Kinds::OBJECT)?;
    let address = ServerAddress::parse(name).ok_or_else(|| {
        let name = shortened(name);
        checker.error(format!("The \"{name}\" is not valid server address."))
    })?;
    let mut its = Weight::default();
    checker.members(value, &[SERVER], |checker, _, value| {
        its = weight(checker, value)?;
        Ok(())
    })?;
    Ok(UpstreamServer {
        address,
        weight: its,
    })
}

fn weight(checker: &Checker<'_>, value: &Value) -> Result<Weight, ConfigError> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        _ => Weight::default().0,
    };
    if number < 0.0 {
        return Err(checker.error("The \"weight\" number must be positive."));
    }
    if number > MOST_WEIGHT {
        return Err(checker.error("The \"weight\" number must not exceed 1,000,000"));
    }
    Ok(Weight(number))
}

/// `proxy` of an action.
pub(super) fn check_proxy(
    checker: &Checker<'_>,
    value: &Value,
) -> Result<ServerAddress, ConfigError> {
    let text = value.as_str().unwrap_or_default();
    // As in Unit, the message contains the text without `http://`.
    let (address, rest) = match text.strip_prefix("http://") {
        Some(rest) => (ServerAddress::parse(rest), rest),
        None => (None, text),
    };
    address.ok_or_else(|| {
        let rest = shortened(rest);
        checker.error(format!("The \"proxy\" address is invalid \"{rest}\""))
    })
}
