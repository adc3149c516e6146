//! The steps of a change that may fail: loads components, opens files, binds sockets. Puts nothing in force.

use std::path::Path;
use std::sync::Arc;

use certificates::Certificates;
use config::{Config, Warning};
use control::PrepareError;
use engine::{Application, Output, OutputFile};
use server::{Listen, Plan, Target};

use super::convert::{self, Outputs};
use super::state::{ActiveState, Applications, LoadedApplication, OpenAccessLog};
use super::{PreparedChange, Runtime};
use crate::addresses::{DEFAULT_BACKLOG, address};
use crate::components::{Components, stamp_of};
use crate::tls::ListenerTls;
use crate::{control_exposure, folders, shares};

impl Runtime {
    /// Prepares the saved configuration, leniently. Sockets are bound first, which may need root. All else happens as
    /// the server's user: it may have access to fewer folders, and it has written the machine code in the cache.
    pub(super) async fn prepare_kept(
        &self,
        config: &Config,
    ) -> Result<PreparedChange, PrepareError> {
        let mut state = ActiveState {
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
            tracing::error!("cannot drop root privileges: {error:#}; exiting");
            std::process::exit(1);
        }
        state.access_log = self.access_log(config).await?;
        plan.set_settings(state.settings());
        state.applications = self.applications(config).await?;
        {
            let target = state.targets(&self.0.metrics);
            plan.retarget(|wanted| {
                let mut listeners = state.listeners.iter();
                let listener = listeners.find(|it| address(it) == *wanted);
                listener.map_or(Target::Unavailable, &target)
            });
        }
        self.open_outputs().await;
        let warnings = self.exposure_warnings(config).await;
        Ok(PreparedChange {
            plan,
            state,
            warnings,
        })
    }

    /// The access log of `config`: the open one if its configuration has not changed.
    pub(super) async fn access_log(
        &self,
        config: &Config,
    ) -> Result<Option<OpenAccessLog>, PrepareError> {
        let Some(wanted) = &config.access_log else {
            return Ok(None);
        };
        let current = self.current();
        let kept = current.access_log.as_ref();
        if let Some(kept) = kept.filter(|kept| kept.config == *wanted) {
            return Ok(Some(kept.clone()));
        }
        let file = self.file(&wanted.path, wanted.at.clone(), self.is_lenient());
        Ok(Some(OpenAccessLog {
            config: wanted.clone(),
            log: convert::access_log(wanted, file.await?),
        }))
    }

    /// The applications of `config`. Those that have not changed are kept, and the others are loaded. Applications with
    /// the same component file share one compiled component.
    pub(super) async fn applications(&self, config: &Config) -> Result<Applications, PrepareError> {
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
            // An application that could not be loaded before must not refuse changes of others.
            let lenient = self.is_lenient() || is_known(&current, wanted);
            let application = match self.application(wanted, &components, lenient).await {
                Ok(application) => Some(application),
                Err(PrepareError { detail, .. }) if lenient => {
                    tracing::error!(
                        application = wanted.name.as_str(),
                        "cannot load: {detail}; its requests get 503 until a change or a restart loads it"
                    );
                    None
                }
                Err(error) => return Err(error),
            };
            let loaded = LoadedApplication {
                config: wanted.clone(),
                application,
                stamp: stamp_of(&components, &wanted.component),
            };
            applications.insert(wanted.name.clone(), loaded);
        }
        Ok(applications)
    }

    /// The application of `config`, with its component out of `components`.
    pub(super) async fn application(
        &self,
        config: &config::Application,
        components: &Components,
        lenient: bool,
    ) -> Result<Application, PrepareError> {
        let component = match components.get(&config.component) {
            Some(loaded) => loaded.component.clone(),
            None => Err("loading the component panicked; see the log".to_owned()),
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
        let settings = convert::application(config, outputs);
        Ok(Application::new(self.0.engine.clone(), component, settings))
    }

    /// Checks that the folders of `config` exist and are not the server's own.
    async fn check_folders(&self, config: &config::Application) -> Result<(), PrepareError> {
        let folders = config.access.filesystem.clone();
        let guarded = Arc::clone(&self.0.guarded);
        let checked = self
            .0
            .threads
            .spawn(move || folders::check(&folders, &guarded));
        let (path, detail) = match checked.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => (config.folder_path(error.index), error.to_string()),
            Err(panic) => (
                config.path(),
                format!("checking access.filesystem panicked: {panic}"),
            ),
        };
        Err(PrepareError {
            path: Some(path),
            detail,
        })
    }

    /// Warnings about parts of `config` that expose the server's own files or its control API to clients.
    pub(super) async fn exposure_warnings(&self, config: &Config) -> Vec<Warning> {
        let (config, inner) = (config.clone(), Arc::clone(&self.0));
        let checked = self.0.threads.spawn(move || {
            let mut warnings = shares::warnings(&config, &inner.guarded);
            if let Some(control) = &inner.control {
                warnings.extend(control_exposure::warnings(&config, control));
            }
            warnings
        });
        checked.await.unwrap_or_else(|panic| {
            tracing::error!(
                "checking what clients can reach panicked: {panic}; warnings about it are missing"
            );
            Vec::new()
        })
    }

    /// The destinations of the standard streams of `config`. If `lenient`, files are not opened here but by
    /// [`open_outputs`](Self::open_outputs), whose errors do not refuse the change.
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

    /// A file to append to, which the configuration names at `place`.
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
        let opened = self.0.threads.spawn(move || files.open(&path)).await;
        let detail = match opened {
            Ok(Ok(file)) => return Ok(file),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("opening the file panicked: {panic}"),
        };
        Err(PrepareError {
            path: Some(place),
            detail,
        })
    }

    /// Opens the output files that are not open yet. Called before the state that has them is put in force. Errors are
    /// logged only.
    pub(super) async fn open_outputs(&self) {
        let files = self.0.outputs.clone();
        match self.0.threads.spawn(move || files.open_closed()).await {
            Ok(errors) => {
                for error in errors {
                    tracing::error!(
                        "{error}; output is discarded until SIGUSR1 or a restart of the application opens the file"
                    );
                }
            }
            Err(panic) => tracing::error!("opening output files panicked: {panic}"),
        }
    }

    pub(super) fn certificates(&self) -> Arc<Certificates> {
        self.0.certificates.snapshot()
    }

    /// The TLS of these listeners. A listener that could not be served before does not refuse changes of others.
    pub(super) fn tls(&self, listeners: &[config::Listener]) -> Result<ListenerTls, PrepareError> {
        let current = self.current();
        let is_known = |wanted: &config::Listener| {
            let mut known = current.listeners.iter();
            known.any(|known| known.address == wanted.address && known.tls == wanted.tls)
        };
        (current.tls).prepare(listeners, &self.certificates(), |listener| {
            self.is_lenient() || is_known(listener)
        })
    }

    /// Binds the listeners, without those whose TLS could not be prepared. If lenient, an address that cannot be bound
    /// is left out.
    pub(super) async fn plan(&self, state: &ActiveState) -> Result<Plan, PrepareError> {
        let listeners = &state.listeners;
        let target = state.targets(&self.0.metrics);
        let listen = |listener: &config::Listener| Listen {
            address: address(listener),
            backlog: listener.backlog.unwrap_or(DEFAULT_BACKLOG),
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
            // An address that could not be bound before must not refuse changes of others, either.
            if !self.is_lenient() && !self.current().listeners.iter().any(|it| at(&it)) {
                return Err(PrepareError {
                    path: listeners.iter().find(at).map(config::Listener::path),
                    detail: error.to_string(),
                });
            }
            tracing::error!(
                "{error}; not listening there until a change of the configuration can bind it"
            );
            listens.retain(|listen| listen.address != error.address);
        }
    }
}

/// Whether this application with this configuration is in force already, loaded or not.
fn is_known(current: &ActiveState, wanted: &config::Application) -> bool {
    current
        .applications
        .get(&wanted.name)
        .is_some_and(|known| known.config == *wanted)
}
