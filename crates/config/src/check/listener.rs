//! `listeners`: addresses, TLS, and the destination of requests.

use std::net::SocketAddr;

use certificates::TlsOptions;
use routing::Forwarded;

use super::checker::Checker;
use super::error::ConfigError;
use super::forwarded::{self, CLIENT_IP, FORWARDED};
use super::pass::{self, Pass};
use super::table::{Form, Interval, Kinds, Member, Table};
use super::tls::{self, TLS};
use super::upstream::ServerAddress;
use crate::{Path, Value};

/// One member of `listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address to listen at.
    pub address: ListenAddress,
    /// The destination of requests.
    pub pass: Pass,
    /// The length of the queue of connections to be accepted, which the system may limit further. `None` is the
    /// server's default: no `backlog`, or a negative one.
    pub backlog: Option<u32>,
    /// The options of TLS; `None` for plain HTTP. [`missing_certificate`](crate::missing_certificate) checks that the
    /// certificates exist.
    pub tls: Option<TlsOptions>,
    /// The trusted proxies: `forwarded`, then `client_ip`, which applies to the result of the first.
    pub forwarded: Vec<Forwarded>,
}

impl Listener {
    /// The path of this listener in the configuration.
    #[must_use]
    pub fn path(&self) -> Path {
        ["listeners", self.address.name()].into_iter().collect()
    }
}

/// The address of a listener: `127.0.0.1:8080`, `[::1]:8080`, `*:8080` for all IPv4 addresses of
/// the machine, or a Unix socket, `unix:/path` or `unix:@name`.
///
/// Different texts may mean the same socket (`*:80`, `0.0.0.0:80`): compare [`ListenAddress::socket`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    name: String,
    socket: ServerAddress,
}

impl ListenAddress {
    /// Parses an address. The port is a decimal number from 1 to 65535. Host names and IPv6 addresses without brackets
    /// are refused. The path or name of a Unix socket has 2 to 107 bytes, the `@` included; a path has no NUL.
    ///
    /// ```
    /// use config::ServerAddress;
    ///
    /// let any = config::ListenAddress::parse("*:80").unwrap();
    /// assert_eq!(any.socket(), &ServerAddress::Tcp(([0, 0, 0, 0], 80).into()));
    /// let unix = config::ListenAddress::parse("unix:/run/a.sock").unwrap();
    /// assert_eq!(unix.socket(), &ServerAddress::Unix("/run/a.sock".into()));
    /// assert!(config::ListenAddress::parse("localhost:80").is_none());
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self {
            name: text.to_owned(),
            socket: ServerAddress::parse(text)?,
        })
    }

    /// The address in its original spelling.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address to bind.
    #[must_use]
    pub fn socket(&self) -> &ServerAddress {
        &self.socket
    }
}

impl From<SocketAddr> for ListenAddress {
    /// For a listener outside of a configuration. Port 0 lets the system choose one.
    fn from(socket: SocketAddr) -> Self {
        Self {
            name: socket.to_string(),
            socket: ServerAddress::Tcp(socket),
        }
    }
}

pub(super) static LISTENER: Table = Table::new(
    "listener",
    "Where the requests of a listener go, and the options of its connections.",
    &[&[
        Member::optional("pass", Form::STRING, pass::DESCRIPTION),
        Member::optional(
            "application",
            Form::STRING,
            "The older form of pass, the plain name of an application; ignored if pass is present.",
        ),
        Member::optional(
            "forwarded",
            &[Form::Object(&FORWARDED)],
            "Which proxies may name the client, and in which fields; none by default.",
        ),
        Member::optional(
            "client_ip",
            &[Form::Object(&CLIENT_IP)],
            "The older form of forwarded, which is applied after it; none by default.",
        ),
        Member::optional(
            "backlog",
            &[Form::Truncated(BACKLOG)],
            "Connections that the kernel queues until they are accepted; 511 by default, and for -1.",
        ),
        Member::optional(
            "tls",
            &[Form::Object(&TLS)],
            "TLS with uploaded certificates; none by default.",
        ),
    ]],
)
.with_any_of(&["pass", "application"]);

const BACKLOG: Interval = Interval {
    least: -1,
    most: i32::MAX as i64,
};

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    name: &str,
    value: &'a Value,
) -> Result<Listener, ConfigError> {
    let address = ListenAddress::parse(name)
        .ok_or_else(|| checker.error(format!("The listener address \"{name}\" is invalid.")))?;
    checker.kind(Some(name), value, Kinds::OBJECT)?;

    let (mut passed, mut application, mut backlog) = (None, None, None);
    let (mut tls, mut forwarded, mut client_ip) = (None, None, None);
    checker.members(value, &LISTENER, |checker, name, value| {
        match name {
            "pass" => passed = Some(pass::check(checker, name, value)?),
            "application" => application = Some(check_application(checker, value)?),
            "backlog" => {
                let number = checker.number(name, value, BACKLOG)?;
                backlog = u32::try_from(number).ok();
            }
            "forwarded" => forwarded = Some(forwarded::check(checker, value)?),
            "client_ip" => client_ip = Some(forwarded::check_client_ip(checker, value)?),
            // `tls`
            _ => tls = Some(tls::check(checker, value)?),
        }
        Ok(())
    })?;
    // As in Unit, `pass` has precedence over `application`, its older form. Unit accepts a listener with neither, and
    // answers all of its requests with 500.
    let Some(pass) = passed.or(application) else {
        return checker.at("pass", |checker| {
            Err(checker.error("Required parameter \"pass\" is missing."))
        });
    };
    Ok(Listener {
        address,
        pass,
        backlog,
        tls,
        forwarded: forwarded.into_iter().chain(client_ip).collect(),
    })
}

fn check_application(checker: &Checker<'_>, value: &Value) -> Result<Pass, ConfigError> {
    let name = value.as_str().unwrap_or_default();
    let applications = checker
        .root
        .child("applications")
        .and_then(Value::as_object);
    if applications.is_some_and(|applications| applications.get(name).is_some()) {
        return Ok(Pass::Application(name.to_owned()));
    }
    Err(checker.error(format!(
        "Listening socket is assigned for a non existing application \"{name}\"."
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ip_addresses_with_a_port() {
        for (text, socket) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("*:80", "0.0.0.0:80"),
            ("[::1]:443", "[::1]:443"),
            ("[::]:65535", "[::]:65535"),
        ] {
            let address = ListenAddress::parse(text).unwrap();
            let socket = ServerAddress::Tcp(socket.parse().unwrap());
            assert_eq!(address.socket(), &socket);
            assert_eq!(address.name(), text);
        }
    }

    #[test]
    fn addresses_are_unix_sockets_by_path_or_name() {
        let of = |text: &str| ListenAddress::parse(text).map(|it| it.socket);
        let path = |path: &str| Some(ServerAddress::Unix(path.into()));
        assert_eq!(of("unix:/run/a.sock"), path("/run/a.sock"));
        assert_eq!(of("unix:a/b"), path("a/b"));
        assert_eq!(of("unix:@a"), Some(ServerAddress::Abstract("a".to_owned())));
        let longest = format!("/{}", "a".repeat(106));
        assert_eq!(of(&format!("unix:{longest}")), path(&longest));
        for none in [
            "unix:a",
            "unix:@",
            "unix:/a\0b",
            "UNIX:/a",
            "unix",
            "/run/a.sock",
        ] {
            assert_eq!(of(none), None, "{none:?}");
        }
        assert_eq!(of(&format!("unix:{longest}a")), None);
    }

    #[test]
    fn host_names_and_malformed_addresses_are_refused() {
        for text in [
            "",
            ":",
            ":80",
            "80",
            "*",
            "*:",
            "*:0",
            "*:65536",
            "*:+80",
            "*:8x",
            "127.0.0.1",
            "256.0.0.1:80",
            "::1:80",
            "[::1]",
            "[::1]80",
            "[::1]:",
            "[::1",
            "[*]:80",
            "host:80",
            "127.0.0.1:80 ",
            "unix:",
        ] {
            assert_eq!(ListenAddress::parse(text), None, "{text:?}");
        }
    }
}
