//! Sockets that the service manager has opened for the server (socket activation, sd_listen_fds(3)).

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::{env, fs};

use anyhow::{Result, bail};
use server::{Address, InheritedSocket, Server};
use untrusted_text::excerpt;

use crate::control_address::ControlAddress;

/// The variables with the process that the sockets are for, and with their number.
const LISTEN_PID: &str = "LISTEN_PID";
const LISTEN_FDS: &str = "LISTEN_FDS";

/// The first of the descriptors; the others follow (sd_listen_fds(3)).
const FIRST_DESCRIPTOR: u32 = 3;

/// More would be a mistake.
const MAX_SOCKETS: u32 = 1024;

/// The sockets that nothing uses yet.
#[derive(Default)]
pub(crate) struct InheritedSockets {
    sockets: Vec<InheritedSocket>,
    /// Of descriptors that cannot be used, which are closed. For the log, which is not open yet.
    refusals: Vec<String>,
}

impl InheritedSockets {
    /// Takes those that are for this process (`LISTEN_PID`). Must be called before anything is opened, since the
    /// descriptors are known by number only.
    pub(crate) fn take() -> Result<Self> {
        let (Some(pid), Some(count)) = (env::var_os(LISTEN_PID), env::var_os(LISTEN_FDS)) else {
            return Ok(Self::default());
        };
        if pid.to_str().and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
            return Ok(Self::default());
        }
        check_open(&count)?;
        let mut inherited = Self::default();
        for (number, (_, descriptor)) in sd_listen_fds::get()?.into_iter().enumerate() {
            match InheritedSocket::try_from(descriptor.into_std()) {
                Ok(socket) => inherited.add(number, socket),
                Err(error) => inherited.refusals.push(format!(
                    "inherited socket {number} of {LISTEN_FDS} cannot be used: {error}; closing it"
                )),
            }
        }
        Ok(inherited)
    }

    fn add(&mut self, number: usize, socket: InheritedSocket) {
        let address = socket.address();
        if self.sockets.iter().any(|known| known.address() == address) {
            self.refusals.push(format!(
                "inherited socket {number} of {LISTEN_FDS} has the address {address} of another one, and is not used; \
                 clients that the system gives to it wait in vain (ReusePort= of the socket unit)"
            ));
            return;
        }
        self.sockets.push(socket);
    }

    /// Warns of descriptors that cannot be used. Has to be called once the log is open.
    pub(crate) fn log(&self) {
        for refusal in &self.refusals {
            tracing::warn!("{refusal}");
        }
        for socket in self
            .sockets
            .iter()
            .filter(|socket| socket.accepts_ipv4_too())
        {
            tracing::warn!(
                "the inherited socket {} accepts IPv4, too: set BindIPv6Only=ipv6-only, or clients have mapped addresses",
                socket.address()
            );
        }
    }

    /// Takes the socket of this address, if there is one.
    pub(crate) fn at(&mut self, address: &ControlAddress) -> Option<OwnedFd> {
        let wanted = match address {
            ControlAddress::Path(path) => Address::Unix(path.clone()),
            ControlAddress::Abstract(name) => Address::Abstract(name.clone()),
            ControlAddress::Tcp(address) => Address::Tcp(*address),
        };
        let mut sockets = self.sockets.iter();
        let index = sockets.position(|socket| *socket.address() == wanted)?;
        Some(self.sockets.swap_remove(index).into())
    }

    /// The TCP address, if there is exactly one socket.
    pub(crate) fn only_address(&self) -> Option<SocketAddr> {
        match self.sockets.as_slice() {
            [socket] => match socket.address() {
                Address::Tcp(address) => Some(*address),
                Address::Unix(_) | Address::Abstract(_) => None,
            },
            _ => None,
        }
    }

    /// Gives the others to the server, for its listeners.
    pub(crate) fn hand_over(self, server: &Server) {
        for socket in self.sockets {
            server.inherit(socket);
        }
    }
}

/// Warns of sockets that no listener uses. They are kept for one that is added later: the service manager has them
/// open, so that their addresses cannot be bound.
pub(crate) fn warn_of_unused(server: &Server) {
    for address in server.unused_sockets() {
        tracing::warn!(
            "no listener has the address {address} of an inherited socket ({LISTEN_FDS}); its clients wait until one is \
             configured"
        );
    }
}

/// Checks the number of descriptors, and that they are open: owning one that is not could close another file later.
fn check_open(count: &OsStr) -> Result<()> {
    let text = count.to_string_lossy();
    let count = text
        .parse()
        .ok()
        .filter(|count: &u32| *count <= MAX_SOCKETS);
    let Some(count) = count else {
        bail!(
            "the environment variable {LISTEN_FDS} is not a number up to {MAX_SOCKETS}: \"{}\"",
            excerpt(&text)
        );
    };
    for descriptor in FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + count {
        if let Err(error) = fs::symlink_metadata(format!("/proc/self/fd/{descriptor}")) {
            bail!("{LISTEN_FDS} is {count}, but descriptor {descriptor} is not open: {error}");
        }
    }
    Ok(())
}
