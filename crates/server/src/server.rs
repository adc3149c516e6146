use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use engine::Application;
use routing::Forwarded;
use rustls::ServerConfig;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Address;
use crate::access_log::AccessLog;
use crate::counters::Connections;
use crate::exchange::upstream::Exchanges;
use crate::held::{HeldForClients, HeldTotal, sweep_while_alive};
use crate::limits::held_uploads::{HeldUploads, MAX_HELD};
use crate::limits::share_files::ShareFiles;
use crate::listener::{BindError, Listener, ListenerId};
use crate::routes::table::{Pass, Table};
use crate::settings::Settings;
use crate::socket::Listening;
use crate::timeouts::Timeouts;
use crate::workers::Workers;

/// What a [`Server`] is made with.
#[derive(Clone)]
pub struct Options {
    /// Connections that are open at a time; further ones wait to be accepted.
    pub connections: usize,
    /// Connections to other servers that are open at a time: one for each request that is with another server,
    /// until its response and its body are over. Idle ones are closed for further requests; where there is
    /// none, these are answered with 503.
    pub exchanges: usize,
    /// Files of shares that are open at a time. Where further ones would have to stay open, the answer is 503.
    pub share_files: usize,
    /// Bytes of responses that may be held in memory for clients that do not take them, of all connections
    /// together. Beyond that, connections are reset: those first that hold much and take little.
    pub held_for_clients: u64,
    /// Where connections are served: best a runtime of one thread for each core, the one that
    /// [`Server::commit`] is called in first. With none, all are served in that.
    pub runtimes: Vec<Handle>,
    /// What holds until the first plan is committed.
    pub settings: Settings,
}

/// A listener to be.
#[derive(Clone)]
pub struct Listen {
    /// Where. Port 0 lets the system choose, anew with every [`Server::prepare`]. A Unix socket's file
    /// is made, for everybody who gets to it, and goes with the listener; what is there is replaced if it
    /// is a socket that nobody listens on.
    pub address: Address,
    /// How many connections the kernel may keep waiting; it has a limit of its own, too.
    pub backlog: u32,
    /// Who answers.
    pub target: Target,
    /// What TLS is spoken with; `None` for plain HTTP. It is for connections that come from then on.
    pub tls: Option<Arc<ServerConfig>>,
    /// Which proxies are believed about their clients; each about what came of the ones before.
    pub forwarded: Vec<Forwarded>,
}

/// Who answers the requests of a listener.
#[derive(Clone)]
pub enum Target {
    /// A component.
    Application(Application),
    /// Whoever the table says, beginning with this.
    Table(Table, Pass),
    /// Nobody, for now: the answer is 503.
    Unavailable,
}

/// A set of listeners, with what answers behind each.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) workers: Arc<Workers>,
    pub(crate) held: Arc<HeldTotal>,
    /// Whether [`sweep_while_alive`] has been started.
    sweeps: AtomicBool,
    places: Arc<Semaphore>,
    pub(crate) exchanges: Exchanges,
    pub(crate) share_files: ShareFiles,
    pub(crate) uploads: HeldUploads,
    snapshot: ArcSwap<Snapshot>,
    next_id: AtomicU64,
}

/// One state of the whole server. A request sees one snapshot from end to end.
struct Snapshot {
    settings: Arc<Settings>,
    listeners: Vec<Arc<Listener>>,
    /// Removed, with connections that still finish what they do.
    closing: Vec<Arc<Listener>>,
    behind: HashMap<ListenerId, Behind>,
}

/// What is behind a listener.
#[derive(Clone)]
struct Behind {
    target: Target,
    tls: Option<Arc<ServerConfig>>,
    /// `None` where no proxy is believed.
    forwarded: Option<Arc<[Forwarded]>>,
}

/// What one request sees of a snapshot.
pub(crate) struct Seen {
    /// Who answers; `None` where the listener is gone.
    pub(crate) target: Option<Target>,
    pub(crate) forwarded: Option<Arc<[Forwarded]>>,
    pub(crate) settings: Arc<Settings>,
}

impl Seen {
    /// Whether something is asked about the request that only its [`Facts`](crate::variables::Facts)
    /// tell.
    pub(crate) fn needs_facts(&self) -> bool {
        let is_routed = matches!(self.target, Some(Target::Table(..)));
        is_routed || self.settings.log_route || self.settings.access_log.is_some()
    }

    /// Whether somebody may ask how long the request has taken.
    pub(crate) fn times_requests(&self) -> bool {
        times_requests(self.target.as_ref(), &self.settings)
    }
}

fn times_requests(target: Option<&Target>, settings: &Settings) -> bool {
    let log = settings.access_log.as_ref();
    let is_routed = match target {
        Some(Target::Table(table, pass)) => table.times_requests(pass),
        Some(Target::Application(_) | Target::Unavailable) | None => false,
    };
    is_routed || log.is_some_and(AccessLog::notes_request_time)
}

impl Snapshot {
    fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            listeners: Vec::new(),
            closing: Vec::new(),
            behind: HashMap::new(),
        }
    }
}

impl Shared {
    /// What a request of this listener is served by, from its beginning to its end.
    pub(crate) fn see(&self, listener: ListenerId) -> Seen {
        let snapshot = self.snapshot.load();
        let behind = snapshot.behind.get(&listener);
        Seen {
            target: behind.map(|it| it.target.clone()),
            forwarded: behind.and_then(|it| it.forwarded.clone()),
            settings: Arc::clone(&snapshot.settings),
        }
    }

    /// Whether somebody may ask how long requests of this listener have taken.
    pub(crate) fn times_requests(&self, listener: ListenerId) -> bool {
        let snapshot = self.snapshot.load();
        let behind = snapshot.behind.get(&listener);
        times_requests(behind.map(|it| &it.target), &snapshot.settings)
    }

    /// How long the client of a connection that begins now is waited for.
    pub(crate) fn timeouts(&self) -> Timeouts {
        self.snapshot.load().settings.timeouts.clone()
    }

    /// Workers that connections are given to which begin now.
    pub(crate) fn most_workers(&self) -> usize {
        let most = self.snapshot.load().settings.workers;
        most.map_or(usize::MAX, NonZeroUsize::get)
    }

    pub(crate) fn tls(&self, listener: ListenerId) -> Option<Arc<ServerConfig>> {
        self.snapshot.load().behind.get(&listener)?.tls.clone()
    }

    /// Room for one more connection, as soon as there is.
    pub(crate) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed, so that this is never `None`.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Room for one more connection, if there is.
    pub(crate) fn free_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

/// A change that can be made at once: everything that could fail has been done. Dropping it
/// instead changes nothing.
#[must_use = "a plan changes nothing until it is committed"]
pub struct Plan {
    settings: Arc<Settings>,
    listeners: Vec<Planned>,
}

struct Planned {
    listener: Arc<Listener>,
    /// Where the listener is new.
    socket: Option<Listening>,
    behind: Behind,
}

impl Plan {
    /// Has other settings hold.
    pub fn set_settings(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Chooses anew who answers behind each address, as it was asked for.
    pub fn retarget(&mut self, target: impl Fn(&Address) -> Target) {
        for planned in &mut self.listeners {
            planned.behind.target = target(&planned.listener.address);
        }
    }
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}

impl Server {
    /// A server that listens nowhere yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let workers = options.runtimes.len().max(1);
        Self(Arc::new(Shared {
            held: Arc::new(HeldTotal::new(workers, options.held_for_clients)),
            sweeps: AtomicBool::new(false),
            workers: Arc::new(Workers::new(options.runtimes)),
            places: semaphore(options.connections),
            exchanges: Exchanges::new(options.exchanges),
            share_files: ShareFiles::new(options.share_files),
            uploads: HeldUploads::new(MAX_HELD),
            snapshot: ArcSwap::from_pointee(Snapshot::new(Arc::new(options.settings))),
            next_id: AtomicU64::new(0),
        }))
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
                    let (listener, socket) = Listener::bind(id, address, backlog)?;
                    (listener, Some(socket))
                }
            };
            plan.push(Planned {
                listener,
                socket,
                behind: Behind {
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

    /// Makes the plan true. Requests in progress go on with what they started with; connections
    /// of listeners that are gone finish their requests and close.
    ///
    /// Plans must be committed in the order they were prepared in, one at a time.
    pub fn commit(&self, plan: Plan) {
        let before = self.0.snapshot.load_full();
        let mut next = Snapshot::new(plan.settings);
        let mut accepting = Vec::new();
        for Planned {
            listener,
            socket,
            behind,
        } in plan.listeners
        {
            next.behind.insert(listener.id, behind);
            if let Some(socket) = socket {
                accepting.push((Arc::clone(&listener), socket));
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
        // What arrives on their connections meanwhile is still answered by who answered before.
        let closing = before
            .closing
            .iter()
            .filter(|listener| listener.is_in_use());
        next.closing = closing.chain(&gone).cloned().collect();
        for listener in &next.closing {
            if let Some(behind) = before.behind.get(&listener.id) {
                next.behind.insert(listener.id, behind.clone());
            }
        }
        self.0.snapshot.store(Arc::new(next));
        if !self.0.sweeps.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep_while_alive(Arc::downgrade(&self.0)));
        }
        for (listener, socket) in accepting {
            tokio::spawn(listener.accept(socket, Arc::clone(&self.0)));
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

    /// Stops listening, lets requests in progress finish, closes what is idle, and waits until
    /// no connection is left. Cancel-safe: dropping the future stops the waiting, not the
    /// draining.
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
