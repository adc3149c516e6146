//! The runtime that the control API drives: the engine's applications behind the server's listeners.
//!
//! `prepare` has all steps of a change that may fail; after that, `put_in_force` cannot. Not here: threads
//! (`workers`), and the configuration on disk (`control`).

mod convert;
mod prepare;
mod process;
mod readiness;
mod state;
mod status;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use certificates::CurrentCertificates;
use config::{Config, Warning};
use config_files::Stamp;
use control::{
    BlockingThreads, ConfigFiles, Health, PrepareError, RestartError, Runtime as _, Status,
};
use engine::{Engine, OutputFiles};
use http::HeaderValue;
use parking_lot::Mutex;
use server::{Metrics, Plan, Server};

use crate::components::{Loader, stamp_of};
use crate::control_address::ControlAddress;
use crate::folders::GuardedFolders;
use crate::privileges::Identity;
use crate::workers::Workers;

use state::{ActiveState, LoadedApplication};

pub(crate) use convert::server_name;

/// Clones share one runtime.
#[derive(Clone)]
pub(crate) struct Runtime(Arc<RuntimeInner>);

/// The server's own folders, which guests must not get.
pub(crate) struct OwnFolders {
    pub(crate) state: Option<PathBuf>,
    /// The file or folder of the configuration, if it comes from files.
    pub(crate) config: Option<PathBuf>,
    pub(crate) cache: Option<PathBuf>,
    /// With private keys.
    pub(crate) secret: Option<PathBuf>,
}

impl OwnFolders {
    pub(crate) fn guarded(&self) -> GuardedFolders {
        let trusted = self.state.iter().chain(&self.config).chain(&self.cache);
        GuardedFolders {
            trusted: trusted.cloned().collect(),
            secret: self.secret.iter().cloned().collect(),
        }
    }
}

/// What a configuration comes with, and through. Empty for `serve`.
#[derive(Default)]
pub(crate) struct ConfigContext {
    /// Where the control API listens, if there is one.
    pub(crate) control: Option<ControlAddress>,
    pub(crate) certificates: CurrentCertificates,
    /// If it comes from files.
    pub(crate) files: Option<ConfigFiles>,
}

struct RuntimeInner {
    engine: Engine,
    /// For blocking steps of a change.
    threads: BlockingThreads,
    health: Health,
    loader: Arc<Loader>,
    guarded: Arc<GuardedFolders>,
    /// Empty for `serve`.
    certificates: CurrentCertificates,
    /// The files that the configuration comes from, if it does.
    config_files: Option<ConfigFiles>,
    /// Where the control API listens. `None` for `serve`, which has none.
    control: Option<ControlAddress>,
    server: Server,
    metrics: Metrics,
    outputs: OutputFiles,
    current: Mutex<Arc<ActiveState>>,
    /// Set while the saved configuration is restored: an application that does not load must not prevent the others
    /// from being served.
    lenient: AtomicBool,
    /// The user to switch to before the first request is served. `None` afterwards.
    identity: Mutex<Option<Identity>>,
    started: SystemTime,
}

/// An application whose component is loaded again when its file changes.
pub(crate) struct Reloadable {
    pub(crate) application: String,
    /// The component's file.
    pub(crate) component: PathBuf,
    /// The version that is loaded.
    pub(crate) loaded: Stamp,
}

/// A change whose steps that may fail have succeeded.
pub(crate) struct PreparedChange {
    plan: Plan,
    state: ActiveState,
    warnings: Vec<Warning>,
}

impl Runtime {
    pub(crate) fn new(
        loader: Arc<Loader>,
        guarded: GuardedFolders,
        context: ConfigContext,
        server: Server,
        outputs: OutputFiles,
        identity: Option<Identity>,
        workers: &Workers,
    ) -> Self {
        let threads = workers.control().clone();
        let content_type = HeaderValue::from_static(control::METRICS_CONTENT_TYPE);
        Self(Arc::new_cyclic(|inner: &Weak<RuntimeInner>| RuntimeInner {
            guarded: Arc::new(guarded),
            certificates: context.certificates,
            config_files: context.files,
            control: context.control,
            metrics: Metrics::new(content_type, {
                let inner = inner.clone();
                move || {
                    // A weak reference, since the server, which has the runtime's metrics, belongs to the runtime.
                    let runtime = inner.upgrade().map(Runtime);
                    runtime.map_or_else(String::new, |it| it.status().to_metrics())
                }
            }),
            threads,
            health: workers.health().clone(),
            engine: loader.engine().clone(),
            loader,
            server,
            outputs,
            current: Mutex::default(),
            lenient: AtomicBool::new(false),
            identity: Mutex::new(identity),
            started: SystemTime::now(),
        }))
    }

    /// Switches to the user of `--user`, if that has not happened yet.
    pub(crate) fn assume_identity(&self) -> anyhow::Result<()> {
        let identity = self.0.identity.lock().take();
        identity.map_or(Ok(()), |identity| identity.assume())
    }

    /// Lenient: a part that cannot be served is left out, with an error in the log. Otherwise it refuses the change.
    pub(crate) fn set_lenient(&self, lenient: bool) {
        self.0.lenient.store(lenient, Ordering::Relaxed);
    }

    /// Graceful shutdown: stops accepting, and waits until all requests have finished.
    pub(crate) async fn drain(&self) {
        self.0.server.drain().await;
        self.0.engine.wait_idle().await;
    }

    /// The applications whose components are to be loaded again when their files change, or all.
    pub(crate) fn reloadable(&self, all: bool) -> Vec<Reloadable> {
        let current = self.current();
        let reloadable = current.applications.values();
        let reloadable = reloadable.filter(|it| all || it.config.reload);
        let reloadable = reloadable.map(|loaded| Reloadable {
            application: loaded.config.name.clone(),
            component: loaded.config.component.clone(),
            loaded: loaded.stamp,
        });
        reloadable.collect()
    }

    pub(crate) fn server(&self) -> &Server {
        &self.0.server
    }

    fn current(&self) -> Arc<ActiveState> {
        Arc::clone(&self.0.current.lock())
    }

    fn is_lenient(&self) -> bool {
        self.0.lenient.load(Ordering::Relaxed)
    }

    fn put_in_force(&self, PreparedChange { plan, state, .. }: PreparedChange) {
        state.tls.update(&self.certificates());
        self.0.server.commit(plan);
        *self.0.current.lock() = Arc::new(state);
        self.report_readiness();
    }

    /// Reports what of the configuration in force is not served, and whether there is one. Returns whether all of it is
    /// served.
    pub(crate) fn report_readiness(&self) -> bool {
        let listening = self.0.server.addresses();
        readiness::report(&self.0.health, &self.current(), &listening)
    }
}

impl control::Runtime for Runtime {
    type Prepared = PreparedChange;

    async fn prepare(&self, config: &Config) -> Result<PreparedChange, PrepareError> {
        if self.is_lenient() {
            return self.prepare_kept(config).await;
        }
        let state = ActiveState {
            settings: config.settings.clone(),
            access_log: self.access_log(config).await?,
            listeners: config.listeners.clone(),
            routes: config.routes.clone(),
            upstreams: self.current().upstreams.next(&config.upstreams),
            applications: self.applications(config).await?,
            tls: self.tls(&config.listeners)?,
        };
        let plan = self.plan(&state).await?;
        self.open_outputs().await;
        let warnings = self.exposure_warnings(config).await;
        Ok(PreparedChange {
            plan,
            state,
            warnings,
        })
    }

    fn warnings(&self, prepared: &PreparedChange) -> Vec<Warning> {
        prepared.warnings.clone()
    }

    fn commit(&self, prepared: PreparedChange) {
        self.put_in_force(prepared);
    }

    fn status(&self) -> Status {
        let Self(inner) = self;
        let files = inner.config_files.as_ref();
        Status {
            config_files: files.map(status::config_files),
            ..status::of(&inner.engine, &inner.server, &self.current(), inner.started)
        }
    }

    fn health(&self) -> &Health {
        &self.0.health
    }

    async fn restart(&self, name: &str) -> Result<(), RestartError> {
        let failed = |detail: String| RestartError { detail };
        let current = self.current();
        let loaded = current
            .applications
            .get(name)
            .ok_or_else(|| failed(format!("no application {name:?}")))?;
        let component = loaded.config.component.clone();
        let components = self.0.loader.load([component].into()).await;
        let application = self.application(&loaded.config, &components, false);
        let application = application.await.map_err(|error| failed(error.detail))?;
        let mut state = ActiveState::clone(&current);
        let loaded = LoadedApplication {
            config: loaded.config.clone(),
            application: Some(application),
            stamp: stamp_of(&components, &loaded.config.component),
        };
        state.applications.insert(name.to_owned(), loaded);
        state.tls = (self.tls(&state.listeners)).map_err(|error| failed(error.detail))?;
        let plan = self.plan(&state).await;
        let plan = plan.map_err(|error| failed(error.detail))?;
        self.open_outputs().await;
        self.put_in_force(PreparedChange {
            plan,
            state,
            warnings: Vec::new(),
        });
        tracing::info!(application = name, "restarted: component loaded again");
        Ok(())
    }
}
