//! The server as a service: start, configuration through the control socket, shutdown. `serve` runs one component
//! without a configuration.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use control::{BlockingThreads, Control, RestoreError, Restored, Source};
use engine::{Engine, OutputFiles};
use nix::fcntl::OFlag;
use server::{Server, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::arguments::{Arguments, ServingOptions};
use crate::components::{Compiling, Loader};
use crate::config_source::ConfigSource;
use crate::control_address::ControlAddress;
use crate::control_socket::{ControlSocket, SocketAccess};
use crate::hang_up;
use crate::health_socket::HealthSocket;
use crate::inherited_sockets::{self, InheritedSockets};
use crate::initial_config;
use crate::kept::Kept;
use crate::log::Log;
use crate::open_files::FileBudget;
use crate::privileges::{Identity, find_group, find_user};
use crate::reload;
use crate::runtime::{ConfigContext, OwnFolders, Runtime, server_name};
use crate::service_manager;
use crate::shutdown::{self, StopSignals};
use crate::workers::Workers;

/// Permissions of the control socket without `--control-mode`.
const CONTROL_MODE: u32 = 0o600;

/// Lower bound of the limit on response data that is buffered for slow clients.
const LEAST_HELD_FOR_CLIENTS: u64 = 64 << 20;

/// How long shutdown waits for the access log and the files of guest output to be written.
const FLUSH: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &Arguments, mut inherited: InheritedSockets) -> Result<ExitCode> {
    let log = Log::start(&arguments.logging)?;
    inherited.log();
    // Dropped last, so that lines logged by the other destructors are written, too.
    let _flush = log.flush_at_end();
    let identity = Identity::find(arguments.user.as_deref(), arguments.group.as_deref())?;
    require_effect(arguments)?;
    if identity.is_some() && arguments.allow_substitution {
        // The user could write what is kept, and root would read the files that it names at the next start.
        bail!("--allow-substitution cannot be used together with --user");
    }
    let kept = Kept::open(arguments)?;
    if let (Some(identity), Some(files)) = (&identity, kept.files()) {
        identity.require_others_files(files.path())?;
    }
    let socket = ControlSocket::open(
        &arguments.control,
        SocketAccess {
            name: "control socket",
            mode: arguments.control_mode.unwrap_or(CONTROL_MODE),
            user: arguments
                .control_user
                .as_deref()
                .map(find_user)
                .transpose()?,
            group: arguments
                .control_group
                .as_deref()
                .map(find_group)
                .transpose()?,
        },
        &mut inherited,
    )?;
    let _pid = arguments.pid.as_deref().map(PidFile::write).transpose()?;
    if let Some(identity) = &identity {
        hand_over(identity, &kept, &log)?;
    }
    let workers = arguments.serving.workers()?;
    let _health = HealthSocket::serve(&arguments.serving, &workers, &mut inherited)?;
    service_manager::report(&workers);
    let outputs = OutputFiles::default();
    let sockets = OpenSockets {
        control: socket,
        inherited,
    };
    let code = workers.run(serve(
        arguments, &workers, &log, identity, kept, sockets, &outputs,
    ));
    finish(workers, &outputs);
    code
}

/// Aborts requests in progress, then writes the last lines of the access log and of guest output. In this order, since
/// aborted requests have access log entries, too.
pub(crate) fn finish(workers: Workers, outputs: &OutputFiles) {
    drop(workers);
    outputs.flush(FLUSH);
}

/// Refuses options that would have no effect.
fn require_effect(arguments: &Arguments) -> Result<()> {
    let access = arguments.control_mode.is_some()
        || arguments.control_user.is_some()
        || arguments.control_group.is_some();
    if access && !matches!(arguments.control, ControlAddress::Path(_)) {
        bail!(
            "--control-mode, --control-user and --control-group need a control socket with a \
             path; {} has no permissions",
            arguments.control
        );
    }
    Ok(())
}

/// What is opened before the server is built.
struct OpenSockets {
    control: ControlSocket,
    /// Those for listeners.
    inherited: InheritedSockets,
}

/// How many applications share the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApplicationCount {
    /// One, which may use all instances, memory and files.
    One,
    /// As many as are configured.
    Several,
}

/// 1/24 of the guests' memory. By default that is 1/32 of the machine's, of which guests have three quarters.
fn held_for_clients(engine: &Engine) -> u64 {
    (engine.memory_limit() / 24).max(LEAST_HELD_FOR_CLIENTS)
}

/// A runtime that does not listen yet. It switches to `identity` before it serves.
pub(crate) fn build(
    serving: &ServingOptions,
    workers: &Workers,
    identity: Option<Identity>,
    own: OwnFolders,
    context: ConfigContext,
    outputs: OutputFiles,
    applications: ApplicationCount,
) -> Result<Runtime> {
    let runtimes = workers.handles();
    let files = FileBudget::split(runtimes.len());
    let engine = Engine::new(&engine::Options {
        background: workers.background(),
        files: files.guests as u64,
        sole_application: applications == ApplicationCount::One,
        ..serving.engine()
    })?;
    let server = Server::new(server::Options {
        connections: files.clients,
        exchanges: files.exchanges,
        share_files: files.shares,
        held_for_clients: held_for_clients(&engine),
        runtimes,
        settings: Settings::new(server_name(true)),
    });
    let compiling = if serving.no_compile {
        Compiling::Never
    } else {
        Compiling::IfNeeded
    };
    let threads = workers.control().clone();
    let guarded = own.guarded();
    let loader = Loader::new(engine, own.cache, compiling, threads);
    Ok(Runtime::new(
        loader, guarded, context, server, outputs, identity, workers,
    ))
}

async fn serve(
    arguments: &Arguments,
    workers: &Workers,
    log: &Log,
    identity: Option<Identity>,
    kept: Kept,
    sockets: OpenSockets,
    outputs: &OutputFiles,
) -> Result<ExitCode> {
    let stop = StopSignals::listen(log, workers.health())?;
    reopen_on_signal(log, outputs, workers.control())?;
    let becomes_another = identity.is_some();
    let own = OwnFolders {
        state: Some(std::path::absolute(&arguments.state.directory)?),
        config: kept.files().map(|files| files.path().to_owned()),
        cache: Some(std::path::absolute(arguments.cache.of(&arguments.state))?),
        secret: kept.secret(),
    };
    let files = kept.files().cloned();
    let certificates = kept.certificates();
    let context = ConfigContext {
        control: Some(arguments.control.clone()),
        certificates: certificates.clone(),
        files: files.clone(),
    };
    let runtime = build(
        &arguments.serving,
        workers,
        identity,
        own,
        context,
        outputs.clone(),
        ApplicationCount::Several,
    )?;
    sockets.inherited.hand_over(runtime.server());
    let initial = arguments.initial_config.as_deref();
    let initial = initial.filter(|_| kept.is_new());
    let source = match kept {
        Kept::State(state) => Source::state(state, arguments.allow_substitution),
        Kept::Files(files) => Source::files(files, certificates),
    };
    let threads = workers.control().clone();
    let control = Control::new(runtime, source, threads.clone());
    let files = files.map(|it| ConfigSource::new(it, control.clone(), threads.clone()));
    let start = Start {
        files,
        initial,
        becomes_another,
    };
    let mut watching = put_in_force(&control, start, threads).await?;

    if !matches!(arguments.control, ControlAddress::Path(_)) {
        tracing::warn!(
            "the control API on {} has no authentication: every client that can connect controls the server",
            arguments.control
        );
    }
    let closing = watch::Sender::new(false);
    let (listener, _file) = sockets.control.into_listener()?;
    let serving = tokio::spawn({
        let control = control.clone();
        let mut closing = closing.subscribe();
        async move {
            let closed = async move {
                let _ = closing.wait_for(|closing| *closing).await;
            };
            control.serve(listener, closed).await;
        }
    });
    tracing::info!(
        "wasmtime-unitd {} is ready; control API on {}",
        env!("CARGO_PKG_VERSION"),
        arguments.control
    );

    service_manager::ready();
    stop.requested(&arguments.serving, control.runtime().server())
        .await;
    // What changes from now on is for the next start.
    watching.abort_all();
    let drained = async {
        closing.send_replace(true);
        // Before the listeners are closed, since a change in progress may open some.
        control.finish_changes().await;
        let control_api = async {
            if let Err(panic) = serving.await {
                tracing::error!("the control API panicked: {panic}");
            }
        };
        // At the same time: a slow client of the control API must not delay closing the listeners.
        tokio::join!(control_api, control.runtime().drain());
    };
    let code = shutdown::drain(arguments.serving.shutdown_timeout, drained).await;
    outputs.keep_open();
    Ok(code)
}

/// What the first configuration comes from, and who puts it in force.
struct Start<'a> {
    /// Those of `--config`.
    files: Option<ConfigSource>,
    /// That of `--initial-config`, if it is needed.
    initial: Option<&'a Path>,
    /// Whether the server becomes the user of `--user`.
    becomes_another: bool,
}

/// Puts the configuration in force, without parts that cannot be served, and becomes the server's user. Returns the
/// tasks that notice changes of files.
async fn put_in_force(
    control: &Control<Runtime>,
    start: Start<'_>,
    threads: BlockingThreads,
) -> Result<JoinSet<()>> {
    let mut files = start.files;
    let requests = hang_up::listen()?;
    let runtime = control.runtime().clone();
    runtime.set_lenient(true);
    let mut look = match &mut files {
        Some(files) => Some(files.start().await?),
        None => {
            match start.initial {
                Some(path) => initial_config::put_in_force(control, path, &threads).await?,
                None => restore(control).await?,
            }
            None
        }
    };
    runtime.set_lenient(false);
    inherited_sockets::warn_of_unused(runtime.server());
    // Not done yet if there was no configuration to restore.
    runtime.assume_identity()?;
    let mut watching = JoinSet::new();
    match files {
        Some(files) => {
            if start.becomes_another {
                look = Some(files.look_as_user().await?);
            }
            if let Some(look) = look {
                watching.spawn(files.watch(look, requests.files));
            }
        }
        // No task would answer the requests.
        None => drop(requests.files),
    }
    let control = control.clone();
    let reload = async move |name| control.reload(name).await;
    watching.spawn(async move {
        reload::watch(runtime, threads, requests.components, reload).await;
    });
    Ok(watching)
}

/// Restores the saved configuration.
async fn restore(control: &Control<Runtime>) -> Result<()> {
    match control.restore().await {
        Ok(Restored::Nothing) => {
            tracing::info!("no saved configuration: starting with an empty one");
        }
        Ok(Restored::Configuration { warnings }) => {
            for warning in warnings {
                tracing::warn!("{warning}");
            }
        }
        // It can be restored once the value is there.
        Err(error @ RestoreError::Substitution { .. }) => return Err(error.into()),
        Err(error) => {
            tracing::error!("cannot restore the saved configuration: {error}");
            if let Some(path) = control.set_aside().await? {
                tracing::error!(
                    "the saved configuration is now in {}; starting with an empty one",
                    path.display()
                );
            }
        }
    }
    control.runtime().report_readiness();
    Ok(())
}

pub(crate) fn reopen_on_signal(
    log: &Log,
    outputs: &OutputFiles,
    threads: &BlockingThreads,
) -> Result<()> {
    let mut reopen = signal(SignalKind::user_defined1())?;
    let (log, outputs, threads) = (log.clone(), outputs.clone(), threads.clone());
    tokio::spawn(async move {
        while reopen.recv().await.is_some() {
            let (log, outputs) = (log.clone(), outputs.clone());
            // Opening a file may block. A panic is logged by the panic hook.
            let _ = threads.spawn(move || reopen_files(&log, &outputs)).await;
        }
    });
    // With a handler for SIGXFSZ, a file that has reached the process's size limit is an error of `write(2)`. Without
    // one, the signal would end the server. The handler stays installed when this is dropped.
    let _ = signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?;
    Ok(())
}

fn reopen_files(log: &Log, outputs: &OutputFiles) {
    match log.reopen() {
        Ok(()) => tracing::info!("SIGUSR1: log reopened"),
        Err(error) => tracing::error!("SIGUSR1: {error:#}; still writing to the old file"),
    }
    for error in outputs.reopen() {
        tracing::error!("SIGUSR1: {error}; still writing to the old file, if one is open");
    }
}

/// Gives the state and the log to the server's user, who has to write to them after root privileges are dropped.
fn hand_over(identity: &Identity, kept: &Kept, log: &Log) -> Result<()> {
    if let Kept::State(state) = kept {
        for path in state.paths() {
            identity.hand_over(&path)?;
        }
    }
    log.path().map_or(Ok(()), |path| identity.hand_over(path))
}

/// The file with the process id, removed at the end.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> Result<Self> {
        // O_NOFOLLOW: the folder may belong to the server's user, who could put a symlink there for root to follow.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(path)
            .and_then(|mut file| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("cannot write the process id to {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Fails if it was removed already, or if the server's user may not change its folder.
        let _ = fs::remove_file(&self.0);
    }
}
