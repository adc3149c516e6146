//! `upstreams` and `proxy`: other servers, their addresses and weights for load balancing.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::address::{self, ADDRESS};
use super::checker::{Checker, shortened};
use super::error::ConfigError;
use super::table::{Form, Interval, Kinds, Map, Member, Regex, Table, Text};
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

pub(super) static UPSTREAM: Table = Table::new(
    "upstream",
    "Other servers among which requests are balanced by weighted round robin.",
    &[&[Member::required_by_owner(
        "servers",
        &[Form::Map(
            Map::of(&[Form::Object(&SERVER)]).with_names(ADDRESS),
        )],
        "The servers by their addresses, such as 192.0.2.1:8080, [2001:db8::1]:8080 or unix:/run/app.sock.",
    )]],
);

static SERVER: Table = Table::new(
    "server",
    "A server of an upstream.",
    &[&[Member::optional(
        "weight",
        &[Form::Number(WEIGHT)],
        "The server's share of the requests, relative to the others; 1 by default, and with 0 it gets none.",
    )]],
);

const WEIGHT: Interval = Interval {
    least: 0,
    most: 1_000_000,
};

/// The value of `proxy`.
pub(super) const PROXY: Text = Text::matching(Regex::Computed(|| address::pattern("http://")));

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    name: &str,
    value: &'a Value,
) -> Result<Upstream, ConfigError> {
    checker.kind(Some(name), value, Kinds::OBJECT)?;
    let mut servers = None;
    checker.members(value, &UPSTREAM, |checker, _, value| {
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
    checker.members(value, &SERVER, |checker, _, value| {
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
    if number < WEIGHT.least as f64 {
        return Err(checker.error("The \"weight\" number must be positive."));
    }
    if number > WEIGHT.most as f64 {
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
