use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use outbound::Client;
use outbound_policy::Policy;
use tokio::sync::OwnedSemaphorePermit;
use unit_log::{ApplicationOutput, Output};

use crate::engine::concurrency_limit::Gate;
use crate::engine::instance_pool::{Grant, InstanceShare};
use crate::sandbox::Instance;
use crate::sandbox::directory::Folders;
use crate::sandbox::memory::Holdings;
use crate::sandbox::open_files::Descriptors;
use crate::scheduling::fair_queue::CpuShare;
use crate::settings::authority::GuestAuthority;
use crate::shared::Shared;
use crate::stats::Counters;
use crate::trailers::LostTrailersLog;
use crate::{Component, Directory, Engine, Failure, Figures, Http1Trailers, Limits, RequestId};

/// What makes an application of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name, for the logs.
    pub name: Arc<str>,
    /// The whole environment that its guests see, in this order.
    pub environment: Vec<(String, String)>,
    /// The folders that its guests see; no others.
    pub directories: Vec<Directory>,
    /// Where its guests may send requests to; nowhere by default.
    pub outbound: Policy,
    /// Which authority its guests see; by default the server name in WASI 0.2, and the host in 0.3.
    pub authority: Option<GuestAuthority>,
    /// How many requests an instance serves; one by default.
    pub instances: Instances,
    /// What one request may take.
    pub limits: Limits,
    /// Where what guests write to their standard output goes; to the log by default.
    pub stdout: Output,
    /// The same for their standard error.
    pub stderr: Output,
}

impl Settings {
    /// The settings of an application that has nothing and is limited by the defaults.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            environment: Vec::new(),
            directories: Vec::new(),
            outbound: Policy::default(),
            authority: None,
            instances: Instances::default(),
            limits: Limits::default(),
            stdout: Output::default(),
            stderr: Output::default(),
        }
    }
}

/// How many requests one instance serves.
///
/// The default is one: no request can see anything of another. With more, what a guest leaves in
/// its memory, in open files and in its tables is there for the requests after, and beside, it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instances {
    /// Requests that an instance serves before it is destroyed. Default: 1.
    pub reuse: NonZeroU32,
    /// Requests that an instance serves at the same time, as far as its guest lets it: a guest of
    /// WASI 0.2 serves one at a time. Default: 1.
    pub concurrency: NonZeroU32,
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            reuse: NonZeroU32::MIN,
            concurrency: NonZeroU32::MIN,
        }
    }
}

/// A component with its settings, ready to serve requests.
///
/// Cloning is cheap, and clones count together. Dropping the last one leaves requests in
/// progress alone: each holds what it needs.
#[derive(Clone)]
pub struct Application(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) component: Component,
    pub(crate) settings: Arc<Settings>,
    pub(crate) gate: Gate,
    instances: Arc<InstanceShare>,
    pub(crate) folders: Arc<Folders>,
    pub(crate) shared: Shared,
    /// For outgoing requests.
    pub(crate) client: Client,
    pub(crate) output: Arc<ApplicationOutput>,
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) counters: Counters,
    pub(crate) lost_trailers: LostTrailersLog,
    pub(crate) cpu: Arc<CpuShare>,
    active: AtomicU64,
}

impl Application {
    /// Joins a component with its settings.
    #[must_use]
    pub fn new(engine: Engine, component: Component, mut settings: Settings) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        for directory in &mut settings.directories {
            directory.follow_links();
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let weight = u64::from(settings.limits.weight.get());
        // By default all that it gets of the instances while no other application has any.
        let concurrency = settings.limits.concurrency.map_or_else(
            || engine.default_concurrency(weight, component.slots()),
            NonZeroU32::get,
        );
        let descriptors = Descriptors::new(Arc::clone(engine.files()), weight);
        let outbound = outbound::Options {
            budget: Some(Arc::<Descriptors>::clone(&descriptors)),
            ..outbound::Options::default()
        };
        Self(Arc::new(Inner {
            gate: Gate::new(concurrency),
            instances: engine.instance_share(weight, component.slots()),
            folders: Arc::default(),
            shared: Shared::default(),
            client: Client::with_options(settings.outbound.clone(), outbound),
            output: ApplicationOutput::new(
                &settings.name,
                settings.stdout.clone(),
                settings.stderr.clone(),
            ),
            holdings: Holdings::new(Arc::clone(engine.memory()), descriptors, weight),
            counters: Counters::default(),
            lost_trailers: LostTrailersLog::default(),
            cpu: CpuShare::new(number, weight),
            engine,
            component,
            settings: Arc::new(settings),
            active: AtomicU64::new(0),
        }))
    }

    /// The name from the settings.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.settings.name
    }

    /// The settings this application was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Requests in progress, those included whose guest still works after its response.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.0.active.load(Ordering::Relaxed)
    }

    /// What has come of it so far. Those that follow each other under one name count apart.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.counters.figures(&self.0.holdings)
    }

    /// Whether one more request would be given to an instance at once.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let inner = &*self.0;
        let concurrency = inner.settings.instances.concurrency.get();
        let has_instance = || {
            inner.engine.has_room(&inner.instances)
                || (inner.shares_instances() && inner.shared.has_room(concurrency))
        };
        inner.gate.has_room() && has_instance()
    }

    /// Whether the turns of guests, of this and other applications, have been short lately, so that
    /// whoever lets the others on a thread go first does not wait for long.
    #[must_use]
    pub fn turns_are_short(&self) -> bool {
        !self.0.engine.ticker().is_vigilant()
    }

    /// Counts a request until the returned value is dropped.
    pub(crate) fn begin(&self, slot: OwnedSemaphorePermit) -> Active {
        self.0.active.fetch_add(1, Ordering::Relaxed);
        Active {
            application: self.clone(),
            slot: Some(slot),
        }
    }

    /// Which authority the URIs of its requests are to have.
    #[must_use]
    pub fn guest_authority(&self) -> GuestAuthority {
        let by_version = if self.0.component.is_concurrent() {
            GuestAuthority::Host
        } else {
            // What Unit gives, which components of 0.2 were written for.
            GuestAuthority::ServerName
        };
        self.0.settings.authority.unwrap_or(by_version)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// An instance for the next request: one that may be used again, or a new one.
    pub(crate) async fn instance(&self, id: RequestId) -> Result<Instance, Failure> {
        let idle = self
            .reuses_instances()
            .then(|| self.engine.idle_instances());
        if let Some(instance) = idle.and_then(|idle| idle.take(&self.instances)) {
            instance.guest().serve_next(id);
            return Ok(instance);
        }
        let limit = self.settings.limits.timeout;
        match self.engine.acquire(&self.instances, limit).await {
            Some(Grant::Permit(permit)) => Instance::new(self, id, permit),
            Some(Grant::Instance(instance)) => {
                instance.guest().serve_next(id);
                Ok(instance)
            }
            None => Err(Failure::Busy),
        }
    }

    /// Counts a failure, and writes it to the log.
    pub(crate) fn report(&self, failure: &Failure, id: RequestId) {
        self.counters.failed(failure);
        failure.log(&self.settings.name, id);
    }

    /// Logs trailers that a client over HTTP/1 does not get.
    pub(crate) fn check_trailers(
        &self,
        id: RequestId,
        rules: &Http1Trailers,
        trailers: &HeaderMap,
    ) {
        let name = &self.settings.name;
        self.lost_trailers.check(name, id, rules, trailers);
    }

    /// Takes an instance back that has served its request without fault.
    pub(crate) fn retire(&self, instance: Instance) {
        if self.may_retire(&instance) {
            self.engine.keep(instance);
        }
    }

    /// Whether an instance may wait for a further request.
    pub(crate) fn may_retire(&self, instance: &Instance) -> bool {
        instance.served() < self.settings.instances.reuse.get() && !self.holdings.is_memory_scarce()
    }

    /// Whether an instance may serve several requests.
    pub(crate) fn reuses_instances(&self) -> bool {
        self.settings.instances.reuse > NonZeroU32::MIN
    }

    /// Whether several requests may be in one instance at the same time. A guest of WASI 0.2 takes
    /// them one by one, and so is asked that way.
    pub(crate) fn shares_instances(&self) -> bool {
        self.settings.instances.concurrency > NonZeroU32::MIN
            && self.reuses_instances()
            && self.component.is_concurrent()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.engine.idle_instances().forget(&self.instances);
    }
}

/// A request in progress, with the application it belongs to and its right to be there.
pub(crate) struct Active {
    application: Application,
    slot: Option<OwnedSemaphorePermit>,
}

impl Active {
    pub(crate) fn application(&self) -> &Inner {
        &self.application.0
    }

    /// Its right to be there, for who takes its work over. To be given back.
    pub(crate) fn slot(&mut self) -> &mut Option<OwnedSemaphorePermit> {
        &mut self.slot
    }

    pub(crate) fn shared(&self) -> Application {
        self.application.clone()
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.application().active.fetch_sub(1, Ordering::Relaxed);
    }
}
