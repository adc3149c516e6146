//! Warns of routes and upstreams that expose the control API to clients.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use config::{Config, ServerAddress, Warning};

use crate::control_address::ControlAddress;

const REASON: &str = "this is the server's own control socket: every client of this listener controls the \
                      server; use \"pass\": \"metrics\" to serve metrics";

/// A warning for each server in `config` that is the control socket itself.
pub(crate) fn warnings(config: &Config, control: &ControlAddress) -> Vec<Warning> {
    let servers = config.servers().into_iter();
    let exposed = servers.filter(|(_, address)| is_control(address, control));
    let warning = |(path, _)| Warning {
        path,
        reason: REASON.into(),
    };
    exposed.map(warning).collect()
}

fn is_control(address: &ServerAddress, control: &ControlAddress) -> bool {
    match (address, control) {
        (ServerAddress::Unix(path), ControlAddress::Path(control)) => is_same_file(path, control),
        (ServerAddress::Abstract(name), ControlAddress::Abstract(control)) => name == control,
        (ServerAddress::Tcp(address), ControlAddress::Tcp(control)) => reaches(*address, *control),
        (
            ServerAddress::Unix(_) | ServerAddress::Abstract(_) | ServerAddress::Tcp(_),
            ControlAddress::Path(_) | ControlAddress::Abstract(_) | ControlAddress::Tcp(_),
        ) => false,
    }
}

/// Compares the files if they exist, so that a symlink does not hide it.
fn is_same_file(path: &Path, control: &Path) -> bool {
    let identity = |path: &Path| {
        let metadata = path.metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    match (identity(path), identity(control)) {
        (Some(one), Some(other)) => one == other,
        _ => crate::folders::resolved(path) == crate::folders::resolved(control),
    }
}

/// The machine's own addresses are not looked up: if the control API listens on all of them, every address is taken
/// for one.
fn reaches(address: SocketAddr, control: SocketAddr) -> bool {
    let (to, at) = (address.ip().to_canonical(), control.ip().to_canonical());
    let is_here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    address.port() == control.port()
        && (to == at || at.is_unspecified() || (to.is_unspecified() && is_here(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_warns(server: &str, control: &str, expected: bool) {
        let tree = config::parse(
            format!(
                r#"{{"routes": {{"r": [{{"action": {{"share": "/www$uri",
                    "fallback": {{"proxy": "http://{server}"}}}}}}]}},
                    "upstreams": {{"u": {{"servers": {{"{server}": {{}}}}}}}}}}"#
            )
            .as_bytes(),
        );
        let checked = Config::check(&tree.unwrap()).unwrap();
        let warnings = warnings(&checked.config, &control.parse().unwrap());
        let paths: Vec<_> = warnings.iter().map(|it| it.path.to_string()).collect();
        let all = ["/routes/r/0/action/fallback/proxy", "/upstreams/u/servers"];
        assert_eq!(paths, if expected { &all[..] } else { &[] }, "{server}");
    }

    #[test]
    fn a_proxy_to_the_control_socket_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, link) = (folder.path().join("c.sock"), folder.path().join("link"));
        let unix = |path: &Path| format!("unix:{}", path.display());
        // As in `check`, there need not be a server.
        assert_warns(&unix(&socket), &unix(&socket), true);
        let dotted = folder.path().join("./c.sock");
        assert_warns(&unix(&dotted), &unix(&socket), true);
        std::fs::write(&socket, "").unwrap();
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        assert_warns(&unix(&link), &unix(&socket), true);
        assert_warns(&unix(&folder.path().join("other")), &unix(&socket), false);
        assert_warns("127.0.0.1:80", &unix(&socket), false);
    }

    #[test]
    fn a_proxy_to_the_control_address_is_warned_of() {
        for (server, control, expected) in [
            ("unix:@a", "unix:@a", true),
            ("unix:@a", "unix:@b", false),
            ("127.0.0.1:81", "127.0.0.1:81", true),
            ("127.0.0.1:82", "127.0.0.1:81", false),
            ("127.0.0.2:81", "127.0.0.1:81", false),
            ("*:81", "127.0.0.1:81", true),
            ("*:81", "192.0.2.1:81", false),
            ("192.0.2.1:81", "0.0.0.0:81", true),
            ("[::ffff:127.0.0.1]:81", "127.0.0.1:81", true),
            ("[::1]:81", "[::]:81", true),
        ] {
            assert_warns(server, control, expected);
        }
    }
}
