//! The socket of `--listen-health`. What it answers is in `control`.

use anyhow::Result;
use sockets::{Listener, SocketFile};
use tokio::task::AbortHandle;

use crate::arguments::ServingOptions;
use crate::control_address::ControlAddress;
use crate::control_socket::{ControlSocket, SocketAccess};
use crate::inherited_sockets::InheritedSockets;
use crate::workers::Workers;

/// Permissions of its file, if it has one: those of a listener, since nothing can be changed there.
const MODE: u32 = 0o666;

/// Answers health checks until it is dropped.
pub(crate) struct HealthSocket {
    task: AbortHandle,
    _file: Option<SocketFile>,
}

impl HealthSocket {
    /// Opens the socket, if there is to be one, and answers on it from now on: also while the configuration is
    /// restored, and during a graceful shutdown. On a thread of its own, so that it answers if those that serve clients
    /// do not.
    pub(crate) fn serve(
        options: &ServingOptions,
        workers: &Workers,
        inherited: &mut InheritedSockets,
    ) -> Result<Option<Self>> {
        let Some(address) = &options.listen_health else {
            return Ok(None);
        };
        let access = SocketAccess {
            name: "socket for health checks",
            mode: MODE,
            user: None,
            group: None,
        };
        let socket = ControlSocket::open(address, access, inherited)?;
        let runtime = workers.control().handle();
        let _context = runtime.enter();
        let (listener, file) = socket.into_listener()?;
        tracing::info!("health checks on {}", local_address(&listener, address));
        let health = workers.health().clone();
        let task = runtime.spawn(async move { health.serve(listener).await });
        Ok(Some(Self {
            task: task.abort_handle(),
            _file: file,
        }))
    }
}

/// With the port that the system chose.
fn local_address(listener: &Listener, wanted: &ControlAddress) -> String {
    match listener {
        Listener::Tcp(listener) => listener
            .local_addr()
            .map_or_else(|_| wanted.to_string(), |address| address.to_string()),
        Listener::Unix(_) => wanted.to_string(),
    }
}

impl Drop for HealthSocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}
