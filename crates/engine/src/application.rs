//! An application: a component with its settings, its share of the engine, and what it counts. How a request is
//! served is in [`handle`](crate::handle).

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;

use crate::engine::concurrency_limit::ConcurrencyLimit;
use crate::engine::instance::Instance;
use crate::engine::instance_pool::{Grant, InstanceShare};
use crate::sandbox::template::Template;
use crate::sandbox::workers::Workers;
use crate::scheduling::cpu_share::CpuShare;
use crate::settings::Settings;
use crate::settings::authority::GuestAuthority;
use crate::stats::{ApplicationStats, Counters};
use crate::trailers::{Http1Trailers, LostTrailersLog};
use crate::{Component, Engine, Failure, RequestId};

/// A component with its settings, ready to serve requests.
///
/// Cloning is cheap: clones are the same application, with the same limits and statistics. Dropping the last
/// one does not affect requests in progress: each holds what it needs.
#[derive(Clone)]
pub struct Application(Arc<ApplicationInner>);

pub(crate) struct ApplicationInner {
    pub(crate) engine: Engine,
    pub(crate) component: Component,
    pub(crate) template: Arc<Template>,
    pub(crate) concurrency: ConcurrencyLimit,
    instances: Arc<InstanceShare<Instance>>,
    /// Of instances that serve several requests at the same time.
    pub(crate) workers: Workers,
    pub(crate) counters: Counters,
    lost_trailers: LostTrailersLog,
    pub(crate) cpu: Arc<CpuShare>,
    active: AtomicU64,
}

impl Application {
    /// Makes an application. Symbolic links in the paths of [`Settings::directories`] are resolved now, once.
    #[must_use]
    pub fn new(engine: Engine, component: Component, settings: Settings) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let weight = u64::from(settings.limits.weight.get());
        let concurrency = settings.limits.concurrency.map_or_else(
            || engine.default_concurrency(weight, component.slots()),
            NonZeroU32::get,
        );
        Self(Arc::new(ApplicationInner {
            template: Template::new(settings, engine.memory(), engine.descriptors()),
            concurrency: ConcurrencyLimit::new(concurrency),
            instances: engine.instance_share(weight, component.slots()),
            workers: Workers::default(),
            counters: Counters::default(),
            lost_trailers: LostTrailersLog::default(),
            cpu: CpuShare::new(number, weight),
            engine,
            component,
            active: AtomicU64::new(0),
        }))
    }

    /// [`Settings::name`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings().name
    }

    /// The settings that the application was made with, with symbolic links in paths of folders resolved.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.template.settings
    }

    /// Requests in progress, including those whose guest still works after its response.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.0.active.load(Ordering::Relaxed)
    }

    /// What has been counted since the application was made. A new application of the same name starts at zero.
    #[must_use]
    pub fn stats(&self) -> ApplicationStats {
        let template = &self.0.template;
        self.0
            .counters
            .stats(&template.memory, &template.descriptors)
    }

    /// Whether one more request would start without waiting. Only a hint: others may be faster.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let inner = &*self.0;
        let concurrency = inner.settings().instances.concurrency.get();
        let has_instance = || {
            inner.engine.has_room(&inner.instances)
                || (inner.shares_instances() && inner.workers.has_room(concurrency))
        };
        inner.concurrency.has_room() && has_instance()
    }

    /// Whether guests, of this and other applications, have lately computed for long in one turn. A task that lets
    /// others on its thread go first may then have to wait for long.
    #[must_use]
    pub fn cpu_pressure(&self) -> bool {
        self.0.engine.ticker().cpu_pressure()
    }

    /// Which authority guests see: that of the settings, or the default for the component's version of WASI.
    #[must_use]
    pub fn guest_authority(&self) -> GuestAuthority {
        let by_version = if self.0.component.is_concurrent() {
            GuestAuthority::Host
        } else {
            // As in NGINX Unit, which components of 0.2 were written for.
            GuestAuthority::ServerName
        };
        self.settings().authority.unwrap_or(by_version)
    }

    /// Counts a request until the returned value is dropped. `permit` is that of the concurrency limit.
    pub(crate) fn begin(&self, permit: OwnedSemaphorePermit) -> InFlight {
        self.0.active.fetch_add(1, Ordering::Relaxed);
        InFlight {
            application: self.clone(),
            permit: Some(permit),
        }
    }

    pub(crate) fn inner(&self) -> &ApplicationInner {
        &self.0
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Application").field(&self.name()).finish()
    }
}

impl ApplicationInner {
    pub(crate) fn settings(&self) -> &Settings {
        &self.template.settings
    }

    /// An instance for the next request: an idle one where instances are reused, or a new one.
    pub(crate) async fn instance(&self, id: RequestId) -> Result<Instance, Failure> {
        let idle = self
            .reuses_instances()
            .then(|| self.engine.idle_instances());
        if let Some(instance) = idle.and_then(|idle| idle.take(&self.instances)) {
            instance.serve_next(id);
            return Ok(instance);
        }
        let limit = self.settings().limits.timeout;
        match self.engine.acquire(&self.instances, limit).await {
            Some(Grant::Permit(permit)) => {
                Instance::new(&self.template, &self.component.world, id, permit)
            }
            Some(Grant::Instance(instance)) => {
                instance.serve_next(id);
                Ok(instance)
            }
            None => Err(Failure::Busy),
        }
    }

    /// Counts a failure, and writes it to the log with its consequence.
    pub(crate) fn report(&self, failure: &Failure, id: RequestId, consequence: impl fmt::Display) {
        self.counters.failed(failure);
        failure.log(&self.settings().name, id, consequence);
    }

    /// Logs trailers that a client over HTTP/1 does not get.
    pub(crate) fn check_trailers(
        &self,
        id: RequestId,
        rules: &Http1Trailers,
        trailers: &HeaderMap,
    ) {
        let name = &self.settings().name;
        self.lost_trailers.check(name, id, rules, trailers);
    }

    /// Keeps an instance that has served its request without a failure for the next one, or destroys it.
    pub(crate) fn retire(&self, instance: Instance) {
        if self.may_reuse(&instance) {
            self.engine.keep(instance);
        }
    }

    /// Whether an instance may wait for a further request.
    pub(crate) fn may_reuse(&self, instance: &Instance) -> bool {
        instance.served() < self.settings().instances.reuse.get()
            && !self.template.memory.is_scarce()
    }

    /// Whether an instance may serve several requests.
    pub(crate) fn reuses_instances(&self) -> bool {
        self.settings().instances.reuse > NonZeroU32::MIN
    }

    /// Whether an instance may serve several requests at the same time. A guest of WASI 0.2 cannot, whatever the
    /// settings.
    pub(crate) fn shares_instances(&self) -> bool {
        self.settings().instances.concurrency > NonZeroU32::MIN
            && self.reuses_instances()
            && self.component.is_concurrent()
    }
}

impl Drop for ApplicationInner {
    fn drop(&mut self) {
        self.engine.idle_instances().remove_all(&self.instances);
    }
}

/// A request in progress, counted for its application. Holds the permit of the concurrency limit.
pub(crate) struct InFlight {
    application: Application,
    permit: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    pub(crate) fn application(&self) -> &ApplicationInner {
        &self.application.0
    }

    /// The permit, which moves to the background with an offloaded guest, and comes back with it.
    pub(crate) fn permit(&mut self) -> &mut Option<OwnedSemaphorePermit> {
        &mut self.permit
    }

    /// The application, for a task that may outlive this.
    pub(crate) fn clone_application(&self) -> Application {
        self.application.clone()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.application().active.fetch_sub(1, Ordering::Relaxed);
    }
}
