//! What the control API drives: the engine's applications behind the server's listeners.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use certificates::{Certificates, Store};
use config::{Config, Warning};
use control::{ApplicationStatus, Module, PrepareError, Processes, RestartError, Status};
use engine::{
    Access, Application, Component, Directory, Engine, Instances, Output, OutputFile, OutputFiles,
};
use http::HeaderValue;
use server::{AccessLog, Listen, LogFormat, Plan, Server, Settings, Target, Timeouts};
use static_files::MimeTypes;

use crate::addresses::address;
use crate::components::Loader;
use crate::folders::{self, Guarded};
use crate::privileges::Identity;
use crate::routes;
use crate::shares;
use crate::tls::Tls;
use crate::upstreams::Upstreams;

/// The `server` field of responses.
pub(crate) fn server_name(with_version: bool) -> HeaderValue {
    HeaderValue::from_static(if with_version {
        concat!("wasmtime-unitd/", env!("CARGO_PKG_VERSION"))
    } else {
        "wasmtime-unitd"
    })
}

/// How many connections the kernel keeps waiting where no `backlog` says otherwise; Unit's number.
pub(crate) const BACKLOG: u32 = 511;

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
    loader: Arc<Loader>,
    /// What no guest may have.
    guarded: Arc<Guarded>,
    /// `None` where there is no configuration that could name one.
    certificates: Option<Arc<Store>>,
    server: Server,
    outputs: OutputFiles,
    current: Mutex<Arc<State>>,
    /// While what was kept over a restart is put in force: one application that does not load must
    /// not keep the others from being served.
    lenient: AtomicBool,
    /// The user to become before the first request is served.
    identity: Mutex<Option<Identity>>,
}

/// What is in force.
#[derive(Clone, Default)]
struct State {
    settings: config::Settings,
    access_log: Option<Noted>,
    listeners: Vec<config::Listener>,
    routes: Vec<config::Route>,
    upstreams: Upstreams,
    applications: Applications,
    tls: Tls,
}

/// An access log, with the configuration that it was opened by.
#[derive(Clone)]
struct Noted {
    config: config::AccessLog,
    log: AccessLog,
}

type Applications = HashMap<String, Loaded>;
type Components = HashMap<PathBuf, Result<Component, String>>;

/// An application with the configuration it was loaded by.
#[derive(Clone)]
struct Loaded {
    config: config::Application,
    /// `None` if it could not be loaded.
    application: Option<Application>,
}

/// Where the standard streams of an application go.
struct Outputs {
    stdout: Output,
    stderr: Output,
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
        server: Server,
        outputs: OutputFiles,
        identity: Option<Identity>,
    ) -> Self {
        Self(Arc::new(Inner {
            guarded: Arc::new(own.guarded()),
            certificates: own.certificates,
            loader: Loader::new(engine.clone(), own.cache),
            engine,
            server,
            outputs,
            current: Mutex::default(),
            lenient: AtomicBool::new(false),
            identity: Mutex::new(identity),
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

    /// Where the streams of `config` go. Leniently, a file is opened when the state is put in force,
    /// if it can be.
    async fn outputs(
        &self,
        config: &config::Application,
        lenient: bool,
    ) -> Result<Outputs, PrepareError> {
        let stdout = self.output("stdout", config.stdout.as_deref(), config, lenient);
        let stderr = self.output("stderr", config.stderr.as_deref(), config, lenient);
        Ok(Outputs {
            stdout: stdout.await?,
            stderr: stderr.await?,
        })
    }

    async fn output(
        &self,
        member: &'static str,
        path: Option<&Path>,
        config: &config::Application,
        lenient: bool,
    ) -> Result<Output, PrepareError> {
        let Some(path) = path else {
            return Ok(Output::Log);
        };
        let file = self.file(path, config.path().join(member), lenient);
        Ok(Output::File(file.await?))
    }

    /// A file that is appended to, which the configuration names at `place`.
    async fn file(
        &self,
        path: &Path,
        place: config::Path,
        lenient: bool,
    ) -> Result<OutputFile, PrepareError> {
        let (path, files) = (path.to_owned(), self.0.outputs.clone());
        if lenient {
            return Ok(files.closed(&path));
        }
        let opened = tokio::task::spawn_blocking(move || files.open(&path)).await;
        let detail = match opened {
            Ok(Ok(file)) => return Ok(file),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("opening failed: {panic}"),
        };
        Err(PrepareError {
            path: Some(place),
            detail,
        })
    }

    /// The access log of `config`: the one that there is, if it is the same.
    async fn access_log(&self, config: &Config) -> Result<Option<Noted>, PrepareError> {
        let Some(wanted) = &config.access_log else {
            return Ok(None);
        };
        let current = self.current();
        let kept = current.access_log.as_ref();
        if let Some(kept) = kept.filter(|kept| kept.config == *wanted) {
            return Ok(Some(kept.clone()));
        }
        let file = self.file(&wanted.path, wanted.at.clone(), self.is_lenient());
        let format = match &wanted.format {
            config::LogFormat::Text(template) => LogFormat::Text(template.clone()),
            config::LogFormat::Json(members) => LogFormat::Json(members.clone()),
        };
        Ok(Some(Noted {
            config: wanted.clone(),
            log: AccessLog::new(file.await?, format, wanted.condition.clone()),
        }))
    }

    /// Whether guests can have the folders of `config`.
    async fn check_folders(&self, config: &config::Application) -> Result<(), PrepareError> {
        let folders = config.access.filesystem.clone();
        let guarded = Arc::clone(&self.0.guarded);
        let checked = tokio::task::spawn_blocking(move || folders::check(&folders, &guarded)).await;
        let (path, detail) = match checked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => (config.folder_path(error.index), error.to_string()),
            Err(panic) => (
                config.path(),
                format!("looking for folders failed: {panic}"),
            ),
        };
        Err(PrepareError {
            path: Some(path),
            detail,
        })
    }

    /// What of `config` lets clients at the server's own files.
    async fn share_warnings(&self, config: &Config) -> Vec<Warning> {
        let (config, guarded) = (config.clone(), Arc::clone(&self.0.guarded));
        let checked = tokio::task::spawn_blocking(move || shares::warnings(&config, &guarded));
        checked.await.unwrap_or_else(|panic| {
            tracing::error!("looking at shares failed: {panic}");
            Vec::new()
        })
    }

    /// Makes an application, whose component is among those that have been loaded.
    async fn application(
        &self,
        config: &config::Application,
        components: &Components,
        lenient: bool,
    ) -> Result<Application, PrepareError> {
        let component = match components.get(&config.component) {
            Some(Ok(component)) => Ok(component.clone()),
            Some(Err(detail)) => Err(detail.clone()),
            None => Err("its component has not been loaded".to_owned()),
        };
        let component = component.map_err(|detail| PrepareError {
            path: Some(config.component_path()),
            detail,
        })?;
        let memory = config.limits.memory;
        component
            .fits(
                &config.component,
                memory.unwrap_or(engine::Limits::default().memory),
            )
            .map_err(|error| PrepareError {
                path: Some(config.component_path()),
                detail: error.to_string(),
            })?;
        self.check_folders(config).await?;
        let outputs = self.outputs(config, lenient).await?;
        let settings = settings(config, outputs);
        Ok(Application::new(self.0.engine.clone(), component, settings))
    }

    /// The applications of `config`: those that are loaded already, and the others loaded. Those that
    /// share a file share what is made of it.
    async fn applications(&self, config: &Config) -> Result<Applications, PrepareError> {
        let current = self.current();
        let kept = |wanted: &config::Application| {
            let kept = current.applications.get(&wanted.name);
            kept.filter(|kept| kept.config == *wanted && kept.application.is_some())
        };
        let new = config.applications.iter().filter(|it| kept(it).is_none());
        let components = new.map(|wanted| wanted.component.clone()).collect();
        let components = self.0.loader.load(components).await;

        let mut applications = Applications::new();
        for wanted in &config.applications {
            if let Some(kept) = kept(wanted) {
                applications.insert(wanted.name.clone(), kept.clone());
                continue;
            }
            // What has not been served before does not stand in the way of other changes.
            let lenient = self.is_lenient() || is_known(&current, wanted);
            let application = match self.application(wanted, &components, lenient).await {
                Ok(application) => Some(application),
                Err(PrepareError { detail, .. }) if lenient => {
                    tracing::error!(
                        application = wanted.name.as_str(),
                        "is not served until it loads: {detail}"
                    );
                    None
                }
                Err(error) => return Err(error),
            };
            let loaded = Loaded {
                config: wanted.clone(),
                application,
            };
            applications.insert(wanted.name.clone(), loaded);
        }
        Ok(applications)
    }

    fn certificates(&self) -> Arc<Certificates> {
        let store = self.0.certificates.as_ref();
        store.map_or_else(Arc::default, |store| store.snapshot())
    }

    /// The TLS of these listeners. A listener that could not be served before does not stand in the
    /// way of other changes.
    fn tls(&self, listeners: &[config::Listener]) -> Result<Tls, PrepareError> {
        let current = self.current();
        let is_known = |wanted: &config::Listener| {
            let mut known = current.listeners.iter();
            known.any(|known| known.address == wanted.address && known.tls == wanted.tls)
        };
        (current.tls).prepare(listeners, &self.certificates(), |listener| {
            self.is_lenient() || is_known(listener)
        })
    }

    /// Binds what is listened on, but for what has no TLS and asks for it. Leniently, an address that
    /// cannot be bound is left out.
    async fn plan(&self, state: &State) -> Result<Plan, PrepareError> {
        let listeners = &state.listeners;
        let target = state.targets();
        let listen = |listener: &config::Listener| Listen {
            address: address(listener),
            backlog: listener.backlog.unwrap_or(BACKLOG),
            target: target(listener),
            tls: state.tls.of(listener),
            forwarded: listener.forwarded.clone(),
        };
        let settings = state.settings();
        let served = listeners.iter().filter(|it| state.tls.serves(it));
        let mut listens: Vec<Listen> = served.map(listen).collect();
        loop {
            let error = match self
                .0
                .server
                .prepare(listens.clone(), Arc::clone(&settings))
                .await
            {
                Ok(plan) => return Ok(plan),
                Err(error) => error,
            };
            let at = |listener: &&config::Listener| address(listener) == error.address;
            // Likewise an address that could not be bound before.
            if !self.is_lenient() && !self.current().listeners.iter().any(|it| at(&it)) {
                return Err(PrepareError {
                    path: listeners.iter().find(at).map(config::Listener::path),
                    detail: error.to_string(),
                });
            }
            tracing::error!("{error}; the next change of the configuration tries again");
            listens.retain(|listen| listen.address != error.address);
        }
    }

    /// Prepares what was kept over a restart. Binding sockets may take root; all else is done as the
    /// server's user, who may be let into fewer folders, and has written what is in the cache.
    async fn prepare_kept(&self, config: &Config) -> Result<Prepared, PrepareError> {
        let mut state = State {
            settings: config.settings.clone(),
            access_log: None,
            listeners: config.listeners.clone(),
            routes: config.routes.clone(),
            upstreams: self.current().upstreams.next(&config.upstreams),
            applications: Applications::new(),
            tls: self.tls(&config.listeners)?,
        };
        let mut plan = self.plan(&state).await?;
        if let Err(error) = self.assume_identity() {
            tracing::error!("the server does not go on as root: {error:#}");
            std::process::exit(1);
        }
        state.access_log = self.access_log(config).await?;
        plan.set_settings(state.settings());
        state.applications = self.applications(config).await?;
        {
            let target = state.targets();
            plan.retarget(|wanted| {
                let mut listeners = state.listeners.iter();
                let listener = listeners.find(|it| address(it) == *wanted);
                listener.map_or(Target::Unavailable, &target)
            });
        }
        let warnings = self.share_warnings(config).await;
        Ok(Prepared {
            plan,
            state,
            warnings,
        })
    }

    fn put_in_force(&self, Prepared { plan, state, .. }: Prepared) {
        for error in self.0.outputs.open_rest() {
            tracing::error!("{error}; what is to go there is lost until SIGUSR1");
        }
        state.tls.update(&self.certificates());
        self.0.server.commit(plan);
        *self
            .0
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }
}

impl State {
    fn settings(&self) -> Arc<Settings> {
        let config::Settings {
            // Nothing of it can be had while there is one runtime for all.
            listen_threads: _,
            header_read_timeout,
            body_read_timeout,
            send_timeout,
            idle_timeout,
            max_body_size,
            discard_unsafe_fields,
            server_version,
            log_route,
            // They are the shares'.
            mime_types: _,
        } = self.settings;
        Arc::new(Settings {
            name: server_name(server_version),
            timeouts: Timeouts {
                header_read: header_read_timeout,
                body_read: body_read_timeout,
                send: send_timeout,
                idle: idle_timeout,
                ..Timeouts::default()
            },
            max_body_size,
            discard_unsafe_fields,
            log_route,
            access_log: self.access_log.as_ref().map(|noted| noted.log.clone()),
            workers: None,
        })
    }

    fn mime_types(&self) -> Arc<MimeTypes> {
        let added = self.settings.mime_types.iter();
        let types = MimeTypes::new(added.map(|(name, extension)| (&**name, &**extension)));
        // What could be wrong with them has been checked.
        Arc::new(types.unwrap_or_default())
    }

    /// Who answers behind each listener.
    fn targets(&self) -> impl Fn(&config::Listener) -> Target {
        let application = |name: &str| self.applications.get(name)?.application.clone();
        let names = self.applications.keys().cloned();
        let table = routes::table(
            &self.routes,
            &self.mime_types(),
            &self.upstreams,
            application,
            names,
        );
        move |listener| {
            let upstreams = &self.upstreams;
            routes::target(&listener.pass, &self.routes, upstreams, &table, application)
        }
    }
}

/// What the engine makes of an application's configuration.
fn settings(config: &config::Application, outputs: Outputs) -> engine::Settings {
    let config::Access {
        filesystem,
        outbound_http,
    } = &config.access;
    let config::Limits {
        timeout,
        execution_timeout,
        memory,
        concurrency,
    } = config.limits;
    let defaults = engine::Limits::default();
    engine::Settings {
        environment: config.environment.clone(),
        directories: filesystem.iter().map(directory).collect(),
        outbound: outbound_http.clone(),
        instances: Instances {
            reuse: config.instances.reuse,
            concurrency: config.instances.concurrency,
        },
        limits: engine::Limits {
            timeout: timeout.unwrap_or(defaults.timeout),
            execution_timeout: execution_timeout.unwrap_or(defaults.execution_timeout),
            memory: memory.unwrap_or(defaults.memory),
            concurrency: concurrency.or(defaults.concurrency),
            ..defaults
        },
        stdout: outputs.stdout,
        stderr: outputs.stderr,
        ..engine::Settings::new(config.name.as_str())
    }
}

fn directory(folder: &config::Folder) -> Directory {
    Directory {
        host: folder.path.clone(),
        guest: folder.name.clone(),
        access: if folder.read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        },
    }
}

/// Whether this very application is in force already, loaded or not.
fn is_known(current: &State, wanted: &config::Application) -> bool {
    current
        .applications
        .get(&wanted.name)
        .is_some_and(|known| known.config == *wanted)
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
        let warnings = self.share_warnings(config).await;
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
        let connections = self.0.server.connections();
        let current = self.current();
        let mut applications: Vec<_> = current
            .applications
            .values()
            .map(|loaded| (loaded.config.name.clone(), application_status(loaded)))
            .collect();
        applications.sort_by(|a, b| a.0.cmp(&b.0));
        Status {
            modules: modules(),
            connections: control::Connections {
                accepted: connections.accepted,
                active: connections.active,
                idle: connections.idle,
                closed: connections.closed,
            },
            requests: self.0.server.requests(),
            instances: control::Instances {
                active: self.0.engine.active_instances().into(),
                limit: self.0.engine.instances().into(),
                pooled: self.0.engine.is_pooled(),
            },
            applications,
        }
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
        self.put_in_force(Prepared {
            plan,
            state,
            warnings: Vec::new(),
        });
        tracing::info!(application = name, "is loaded anew");
        Ok(())
    }
}

/// Unit counts processes. Here all applications live in one: it runs when the application is
/// loaded, and is idle when none of its requests is in progress.
fn application_status(loaded: &Loaded) -> ApplicationStatus {
    let active_requests = loaded.application.as_ref().map_or(0, Application::active);
    let running = u64::from(loaded.application.is_some());
    let idle = if active_requests == 0 { running } else { 0 };
    ApplicationStatus {
        processes: Processes {
            running,
            starting: 0,
            idle,
        },
        active_requests,
    }
}

fn modules() -> Vec<Module> {
    let module = |name: &str| Module {
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        lib: "built in".to_owned(),
    };
    vec![module("wasm"), module("wasm-wasi-component")]
}
