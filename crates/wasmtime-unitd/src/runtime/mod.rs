//! What the control API drives: the engine's applications behind the server's listeners.

mod convert;
mod prepare;
mod process;
mod state;
mod status;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use certificates::Store;
use config::{Config, Warning};
use control::{BlockingThreads, PrepareError, RestartError, Status};
use engine::{Engine, OutputFiles};
use http::HeaderValue;
use server::{Metrics, Plan, Server};

use crate::components::Loader;
use crate::control_socket::ControlAddress;
use crate::folders::Guarded;
use crate::privileges::Identity;

use state::{Loaded, State};

pub(crate) use convert::{BACKLOG, server_name};

/// One process serves every application.
#[derive(Clone)]
pub(crate) struct Runtime(Arc<Inner>);

/// Where the server keeps what it trusts, and what is secret.
pub(crate) struct OwnFolders {
    pub(crate) state: Option<PathBuf>,
    pub(crate) cache: Option<PathBuf>,
    /// With private keys, in the folder that the store is in.
    pub(crate) certificates: Option<Arc<Store>>,
}

impl OwnFolders {
    fn guarded(&self) -> Guarded {
        let trusted = self.state.iter().chain(&self.cache).cloned();
        let secret = self.certificates.iter();
        Guarded {
            trusted: trusted.collect(),
            secret: secret.map(|store| store.folder().to_owned()).collect(),
        }
    }
}

struct Inner {
    engine: Engine,
    /// For what blocks in a change.
    threads: BlockingThreads,
    loader: Arc<Loader>,
    /// What no guest may have.
    guarded: Arc<Guarded>,
    /// `None` where there is no configuration that could name one.
    certificates: Option<Arc<Store>>,
    /// Where the control API listens; `None` without one.
    control: Option<ControlAddress>,
    server: Server,
    metrics: Metrics,
    outputs: OutputFiles,
    current: Mutex<Arc<State>>,
    /// While what was kept over a restart is put in force: one application that does not load must
    /// not keep the others from being served.
    lenient: AtomicBool,
    /// The user to become before the first request is served.
    identity: Mutex<Option<Identity>>,
    started: SystemTime,
}

/// A state that can be put in force.
pub(crate) struct Prepared {
    plan: Plan,
    state: State,
    warnings: Vec<Warning>,
}

impl Runtime {
    pub(crate) fn new(
        engine: Engine,
        own: OwnFolders,
        control: Option<ControlAddress>,
        server: Server,
        outputs: OutputFiles,
        identity: Option<Identity>,
        threads: BlockingThreads,
    ) -> Self {
        let content_type = HeaderValue::from_static(control::METRICS_CONTENT_TYPE);
        Self(Arc::new_cyclic(|inner: &Weak<Inner>| Inner {
            guarded: Arc::new(own.guarded()),
            certificates: own.certificates,
            control,
            metrics: Metrics::new(content_type, {
                let inner = inner.clone();
                move || {
                    // Without it nothing is served any more.
                    let runtime = inner.upgrade().map(Runtime);
                    runtime.map_or_else(String::new, |it| status::of(&it).to_metrics())
                }
            }),
            loader: Loader::new(engine.clone(), own.cache, threads.clone()),
            threads,
            engine,
            server,
            outputs,
            current: Mutex::default(),
            lenient: AtomicBool::new(false),
            identity: Mutex::new(identity),
            started: SystemTime::now(),
        }))
    }

    /// Becomes the user that the server is to run as, unless that has happened.
    pub(crate) fn assume_identity(&self) -> anyhow::Result<()> {
        let identity = self
            .0
            .identity
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        identity.map_or(Ok(()), |identity| identity.assume())
    }

    /// Whether what cannot be served is left out, with an error in the log, or refuses the whole.
    pub(crate) fn set_lenient(&self, lenient: bool) {
        self.0.lenient.store(lenient, Ordering::Relaxed);
    }

    /// Lets everything finish that is in progress.
    pub(crate) async fn drain(&self) {
        self.0.server.drain().await;
        self.0.engine.idle().await;
    }

    pub(crate) fn server(&self) -> &Server {
        &self.0.server
    }

    fn current(&self) -> Arc<State> {
        Arc::clone(
            &self
                .0
                .current
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn is_lenient(&self) -> bool {
        self.0.lenient.load(Ordering::Relaxed)
    }

    fn put_in_force(&self, Prepared { plan, state, .. }: Prepared) {
        state.tls.update(&self.certificates());
        self.0.server.commit(plan);
        *self
            .0
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }
}

impl control::Runtime for Runtime {
    type Prepared = Prepared;

    async fn prepare(&self, config: &Config) -> Result<Prepared, PrepareError> {
        if self.is_lenient() {
            return self.prepare_kept(config).await;
        }
        let state = State {
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
        Ok(Prepared {
            plan,
            state,
            warnings,
        })
    }

    fn warnings(&self, prepared: &Prepared) -> Vec<Warning> {
        prepared.warnings.clone()
    }

    fn commit(&self, prepared: Prepared) {
        self.put_in_force(prepared);
    }

    fn status(&self) -> Status {
        status::of(self)
    }

    async fn restart(&self, name: &str) -> Result<(), RestartError> {
        let failed = |detail: String| RestartError { detail };
        let current = self.current();
        let loaded = current
            .applications
            .get(name)
            .ok_or_else(|| failed(format!("there is no application {name:?}")))?;
        let component = loaded.config.component.clone();
        let components = self.0.loader.load([component].into()).await;
        let application = self.application(&loaded.config, &components, false);
        let application = application.await.map_err(|error| failed(error.detail))?;
        let mut state = State::clone(&current);
        let loaded = Loaded {
            config: loaded.config.clone(),
            application: Some(application),
        };
        state.applications.insert(name.to_owned(), loaded);
        state.tls = (self.tls(&state.listeners)).map_err(|error| failed(error.detail))?;
        let plan = self.plan(&state).await;
        let plan = plan.map_err(|error| failed(error.detail))?;
        self.open_outputs().await;
        self.put_in_force(Prepared {
            plan,
            state,
            warnings: Vec::new(),
        });
        tracing::info!(application = name, "is loaded anew");
        Ok(())
    }
}
