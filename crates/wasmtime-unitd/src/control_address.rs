//! The address of the control API, as `--control` has it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::{fmt, str};

/// `unix:PATH`, `unix:@NAME` (an abstract socket of Linux, which has no permissions) or `ADDRESS:PORT`, as in unitd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlAddress {
    Path(PathBuf),
    Abstract(String),
    Tcp(SocketAddr),
}

impl str::FromStr for ControlAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("" | "@") => Err("no path after unix:".to_owned()),
            Some(path) => Ok(match path.strip_prefix('@') {
                Some(name) => Self::Abstract(name.to_owned()),
                None => Self::Path(path.into()),
            }),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| "expected unix:PATH, unix:@NAME or ADDRESS:PORT".to_owned()),
        }
    }
}

impl fmt::Display for ControlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in [
            "unix:/run/a.sock",
            "unix:@name",
            "127.0.0.1:8001",
            "[::1]:8001",
        ] {
            assert_eq!(text.parse::<ControlAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "unix:",
            "unix:@",
            "/run/a.sock",
            "localhost:80",
            "127.0.0.1",
            "127.0.0.1:99999",
        ] {
            assert!(text.parse::<ControlAddress>().is_err(), "{text}");
        }
    }
}
