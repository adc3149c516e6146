//! Puts listeners and settings in force, and takes them out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use routing::Forwarded;
use rustls::ServerConfig;

use crate::Address;
use crate::accept::accept;
use crate::counters::Connections;
use crate::held::{HeldForClients, sweep_while_alive};
use crate::inherited::InheritedSocket;
use crate::listener::{BindError, Listener, ListenerId};
use crate::settings::Settings;
use crate::shared::{Options, Shared};
use crate::snapshot::{Binding, Snapshot, Target};
use crate::socket::ListeningSocket;

/// A listener that is wanted.
#[derive(Clone)]
pub struct Listen {
    /// Where. Port 0 lets the system choose, again with every [`Server::prepare`]. A Unix socket's file
    /// is created with mode 0666 and removed with the listener; a file that is there is replaced if it is a socket
    /// without a listening process.
    pub address: Address,
    /// How many connections the kernel may keep waiting; it has a limit of its own, too.
    pub backlog: u32,
    /// What answers.
    pub target: Target,
    /// What TLS is spoken with; `None` for plain HTTP. It is for connections that come from then on.
    pub tls: Option<Arc<ServerConfig>>,
    /// The trusted proxies, in order: each is applied to the client address that the previous one gave.
    pub forwarded: Vec<Forwarded>,
}

/// A set of listeners, and what answers their requests.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

/// A change that can be made at once: everything that could fail has been done. Dropping it
/// instead changes nothing.
#[must_use = "a plan changes nothing until it is committed"]
pub struct Plan {
    settings: Arc<Settings>,
    listeners: Vec<Planned>,
}

struct Planned {
    listener: Arc<Listener>,
    /// `Some` if the listener is new.
    socket: Option<ListeningSocket>,
    binding: Binding,
}

impl Plan {
    /// Replaces the settings.
    pub fn set_settings(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Changes what answers at each address; the argument is the address as it was given.
    pub fn retarget(&mut self, target: impl Fn(&Address) -> Target) {
        for planned in &mut self.listeners {
            planned.binding.target = target(&planned.listener.address);
        }
    }
}

impl Server {
    /// A server that listens nowhere yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Shared::new(options)))
    }

    /// Uses this socket for listeners of its address, now and later, instead of binding one. The length of its backlog
    /// is not changed, its file is not removed, and connections in the backlog stay there when its listener closes.
    pub fn inherit(&self, socket: InheritedSocket) {
        self.0.inherited.add(socket);
    }

    /// The addresses of [inherited](Self::inherit) sockets that no listener uses.
    #[must_use]
    pub fn unused_sockets(&self) -> Vec<Address> {
        let used = self.addresses();
        let mut unused = self.0.inherited.addresses();
        unused.retain(|address| !used.contains(address));
        unused
    }

    /// Prepares to listen on exactly these addresses, with these settings. Sockets that are open already are kept, with
    /// the backlog they have; those of new addresses are bound.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound. Nothing has changed then.
    ///
    /// # Panics
    ///
    /// When polled outside a tokio runtime.
    pub async fn prepare(
        &self,
        listens: Vec<Listen>,
        settings: Arc<Settings>,
    ) -> Result<Plan, BindError> {
        let current = self.0.snapshot.load_full();
        for closing in &current.closing {
            // A listener that was removed just now may be wanted back.
            closing.released().await;
        }
        let mut plan = Vec::with_capacity(listens.len());
        for Listen {
            address,
            backlog,
            target,
            tls,
            forwarded,
        } in listens
        {
            let kept = current
                .listeners
                .iter()
                .find(|listener| listener.address == address);
            let (listener, socket) = match kept {
                Some(listener) if !address.is_any() => (Arc::clone(listener), None),
                _ => {
                    let id = ListenerId(self.0.next_id.fetch_add(1, Ordering::Relaxed));
                    let inherited = self.0.inherited.at(&address);
                    let (listener, socket) = Listener::bind(id, address, backlog, inherited)?;
                    (listener, Some(socket))
                }
            };
            plan.push(Planned {
                listener,
                socket,
                binding: Binding {
                    target,
                    tls,
                    forwarded: (!forwarded.is_empty()).then(|| forwarded.into()),
                },
            });
        }
        Ok(Plan {
            settings,
            listeners: plan,
        })
    }

    /// Puts the plan in force. Requests in progress keep the snapshot they started with; connections
    /// of listeners that are gone finish their requests and close.
    ///
    /// Plans must be committed in the order they were prepared in, one at a time.
    ///
    /// # Panics
    ///
    /// When called outside of a tokio runtime.
    pub fn commit(&self, plan: Plan) {
        let before = self.0.snapshot.load_full();
        let mut next = Snapshot::new(plan.settings);
        let mut accepting = Vec::new();
        for Planned {
            listener,
            socket,
            binding,
        } in plan.listeners
        {
            next.bindings.insert(listener.id, binding);
            if let Some(socket) = socket {
                // Subscribed here: until it accepts, only this signal shows that the listener is in use.
                accepting.push((Arc::clone(&listener), listener.closing(), socket));
            }
            next.listeners.push(listener);
        }
        let kept = |id| next.listeners.iter().any(|listener| listener.id == id);
        let gone: Vec<_> = before
            .listeners
            .iter()
            .filter(|listener| !kept(listener.id))
            .cloned()
            .collect();
        // Until their connections have closed, requests on them get their target of before.
        let closing = before
            .closing
            .iter()
            .filter(|listener| listener.is_in_use());
        next.closing = closing.chain(&gone).cloned().collect();
        for listener in &next.closing {
            if let Some(binding) = before.bindings.get(&listener.id) {
                next.bindings.insert(listener.id, binding.clone());
            }
        }
        self.0.snapshot.store(Arc::new(next));
        if !self.0.sweeps.swap(true, Ordering::Relaxed) {
            let server = Arc::downgrade(&self.0);
            tokio::spawn(sweep_while_alive(move || {
                let server = server.upgrade()?;
                Some((Arc::clone(&server.held), server.timeouts().send))
            }));
        }
        for (listener, closing, socket) in accepting {
            tokio::spawn(accept(listener, closing, socket, Arc::clone(&self.0)));
        }
        for listener in gone {
            listener.close();
        }
    }

    /// The addresses that are listened on, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.0
            .snapshot
            .load()
            .listeners
            .iter()
            .map(|listener| listener.local.clone())
            .collect()
    }

    /// The connections so far.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.0.workers.counters().connections()
    }

    /// Idle connections of HTTP/1 that are parked: see [`Timeouts::park_after`](crate::Timeouts::park_after).
    #[must_use]
    pub fn parked_connections(&self) -> u64 {
        self.0.workers.counters().parked()
    }

    /// Requests so far, those in progress included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.workers.counters().requests()
    }

    /// What is held in memory for clients that have not taken it yet.
    #[must_use]
    pub fn held_for_clients(&self) -> HeldForClients {
        self.0.held.figures()
    }

    /// Has each connection of HTTP/1 end with its next response, which says so (`connection: close`), while new ones
    /// are accepted as before. A client that keeps connections then has none in use on which it could send a request
    /// just when [`drain`](Self::drain) closes it. HTTP/2 needs no such notice: its GOAWAY names the requests to send
    /// again.
    pub fn announce_shutdown(&self) {
        self.0.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Stops listening, lets requests in progress finish, closes what is idle, and waits until
    /// no connection is left. Cancel-safe: dropping the future stops the waiting, not the
    /// draining.
    ///
    /// # Panics
    ///
    /// When polled outside of a tokio runtime.
    pub async fn drain(&self) {
        self.commit(Plan {
            settings: Arc::clone(&self.0.snapshot.load().settings),
            listeners: Vec::new(),
        });
        let closing = self.0.snapshot.load().closing.clone();
        for listener in closing {
            listener.gone().await;
        }
    }
}
