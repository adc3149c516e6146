//! What all connections of a server share.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::held::HeldTotal;
use crate::inherited::InheritedSockets;
use crate::limits::{HeldUploads, MAX_HELD, ShareFiles, UpstreamConnections};
use crate::listener::ListenerId;
use crate::settings::Settings;
use crate::snapshot::{Snapshot, SnapshotView, times_requests};
use crate::timeouts::Timeouts;
use crate::workers::Workers;

/// What a [`Server`](crate::Server) is made with.
#[derive(Clone)]
pub struct Options {
    /// Connections that are open at a time; further ones wait to be accepted.
    pub connections: usize,
    /// Connections to other servers that are open at a time: one for each request that is forwarded to one,
    /// until its response and its body are over. Idle ones are closed for further requests; if none is
    /// idle, these are answered with 503.
    pub exchanges: usize,
    /// Files of shares that are open at a time. Beyond this, a file larger than 64 KiB or not in the page cache is
    /// answered with 503.
    pub share_files: usize,
    /// Bytes of responses that may be held in memory for clients that do not take them, of all connections
    /// together. Beyond that, connections are reset: those first that hold much and take little.
    pub held_for_clients: u64,
    /// Where connections are served: best a runtime of one thread for each core, the one that
    /// [`Server::commit`](crate::Server::commit) is called in first. With none, all are served in that.
    pub runtimes: Vec<Handle>,
    /// What holds until the first plan is committed.
    pub settings: Settings,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) workers: Arc<Workers>,
    pub(crate) held: Arc<HeldTotal>,
    /// Whether [`sweep_while_alive`](crate::held::sweep_while_alive) has been started.
    pub(crate) sweeps: AtomicBool,
    /// Whether connections of HTTP/1 end with their next responses: see
    /// [`Server::announce_shutdown`](crate::Server::announce_shutdown).
    pub(crate) is_leaving: AtomicBool,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) exchanges: UpstreamConnections,
    pub(crate) share_files: ShareFiles,
    pub(crate) uploads: HeldUploads,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) next_id: AtomicU64,
    pub(crate) inherited: InheritedSockets,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        let workers = options.runtimes.len().max(1);
        Self {
            held: Arc::new(HeldTotal::new(workers, options.held_for_clients)),
            sweeps: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            workers: Arc::new(Workers::new(options.runtimes)),
            places: semaphore(options.connections),
            exchanges: UpstreamConnections::new(options.exchanges),
            share_files: ShareFiles::new(options.share_files),
            uploads: HeldUploads::new(MAX_HELD),
            snapshot: ArcSwap::from_pointee(Snapshot::new(Arc::new(options.settings))),
            next_id: AtomicU64::new(0),
            inherited: InheritedSockets::default(),
        }
    }

    /// What a request of this listener is served by, from its beginning to its end.
    pub(crate) fn view(&self, listener: ListenerId) -> SnapshotView {
        let snapshot = self.snapshot.load();
        let binding = snapshot.bindings.get(&listener);
        SnapshotView {
            target: binding.map(|it| it.target.clone()),
            forwarded: binding.and_then(|it| it.forwarded.clone()),
            settings: Arc::clone(&snapshot.settings),
        }
    }

    /// Whether routes or the access log of this listener use `$request_time`.
    pub(crate) fn times_requests(&self, listener: ListenerId) -> bool {
        let snapshot = self.snapshot.load();
        let binding = snapshot.bindings.get(&listener);
        times_requests(binding.map(|it| &it.target), &snapshot.settings)
    }

    /// The timeouts of a connection that begins now.
    pub(crate) fn timeouts(&self) -> Timeouts {
        self.snapshot.load().settings.timeouts.clone()
    }

    /// Workers that connections are given to which begin now.
    pub(crate) fn most_workers(&self) -> usize {
        let most = self.snapshot.load().settings.workers;
        most.map_or(usize::MAX, NonZeroUsize::get)
    }

    pub(crate) fn tls(&self, listener: ListenerId) -> Option<Arc<ServerConfig>> {
        self.snapshot.load().bindings.get(&listener)?.tls.clone()
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

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}
