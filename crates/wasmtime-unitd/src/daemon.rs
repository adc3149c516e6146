//! The server as a service: configured through its control socket.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use control::{Control, PeerCheckedListener, Restored, StateDir};
use engine::{Engine, OutputFiles};
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use server::{Server, Settings};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::arguments::{Arguments, Running};
use crate::control_socket::{Access, ControlAddress, ControlSocket};
use crate::log::Log;
use crate::privileges::{Identity, find_group, find_user};
use crate::runtime::{OwnFolders, Runtime, server_name};
use crate::shutdown::{self, StopSignals};
use crate::workers::Workers;

/// Permissions of the control socket where no others are asked for.
const CONTROL_MODE: u32 = 0o600;

/// Open files for all but clients' connections: listeners, the log, what guests print to, the
/// state, and the control API's 128 connections.
const RESERVED_FILES: usize = 256;

/// The least limit on response data that is held for clients.
const LEAST_HELD_FOR_CLIENTS: u64 = 64 << 20;

/// Open files of a tokio runtime, of which there is one for each worker and one more.
const FILES_PER_RUNTIME: usize = 4;

/// How long the end of the server waits for files of guests' output.
const FLUSH: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let log = Log::start(&arguments.logging)?;
    // Dropped last, so that it has what is logged at the very end.
    let _flush = log.flush_at_end();
    let identity = Identity::find(arguments.user.as_deref(), arguments.group.as_deref())?;
    let state = StateDir::open(&arguments.state.directory)?;
    require_effect(arguments)?;
    let socket = ControlSocket::open(
        &arguments.control,
        Access {
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
    )?;
    let pid = arguments.pid.as_deref().map(PidFile::write).transpose()?;
    if let Some(identity) = &identity {
        hand_over(identity, &state, &log)?;
    }
    let workers = arguments.running.workers()?;
    workers.run(serve(
        arguments, &workers, &log, identity, state, socket, pid,
    ))
}

/// Refuses what would have no effect.
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

/// How the files that the process may have open are split.
struct Files {
    /// Connections of clients.
    clients: usize,
    /// Requests that are with other servers, each of which has a connection beside its client's.
    exchanges: usize,
    /// What guests open, and the connections of their own requests.
    guests: usize,
}

impl Files {
    /// A half for clients' connections, most of which are idle, and a quarter each for the others. None of
    /// them touches what the server needs itself.
    fn split(workers: usize) -> Self {
        let files = available_files(workers);
        let quarter = (files / 4).max(1);
        Self {
            clients: files.saturating_sub(2 * quarter).max(1),
            exchanges: quarter,
            guests: quarter,
        }
    }
}

/// As many as the system allows this process open files, but for some that it needs itself: the control
/// API stays within reach when clients, other servers and guests have taken all others.
fn available_files(workers: usize) -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        Ok(hard)
    });
    let reserved = RESERVED_FILES + FILES_PER_RUNTIME * (workers + 1);
    match limit {
        Ok(files) => usize::try_from(files)
            .unwrap_or(usize::MAX)
            .saturating_sub(reserved)
            .max(3),
        Err(error) => {
            tracing::warn!("the limit of open files cannot be raised: {error}");
            1024_usize.saturating_sub(reserved).max(3)
        }
    }
}

/// How many applications a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applications {
    /// One, which may have all instances, memory and files.
    One,
    /// As many as are configured. They share.
    Several,
}

/// A thirty-second part of the machine's memory, by default: guests have three quarters of it.
fn held_for_clients(engine: &Engine) -> u64 {
    (engine.memory_limit() / 24).max(LEAST_HELD_FOR_CLIENTS)
}

/// The server that listens nowhere yet, with an engine behind it. It becomes `identity` before it
/// serves.
pub(crate) fn build(
    running: &Running,
    workers: &Workers,
    identity: Option<Identity>,
    own: OwnFolders,
    control: Option<ControlAddress>,
    outputs: OutputFiles,
    applications: Applications,
) -> Result<Runtime> {
    let runtimes = workers.handles();
    let files = Files::split(runtimes.len());
    let engine = Engine::new(&engine::Options {
        background: workers.background(),
        files: files.guests as u64,
        sole_application: applications == Applications::One,
        ..running.engine()
    })?;
    let server = Server::new(server::Options {
        connections: files.clients,
        exchanges: files.exchanges,
        held_for_clients: held_for_clients(&engine),
        runtimes,
        settings: Settings::new(server_name(true)),
    });
    Ok(Runtime::new(
        engine, own, control, server, outputs, identity,
    ))
}

async fn serve(
    arguments: &Arguments,
    workers: &Workers,
    log: &Log,
    identity: Option<Identity>,
    state: StateDir,
    socket: ControlSocket,
    _pid: Option<PidFile>,
) -> Result<ExitCode> {
    let stop = StopSignals::listen(log)?;
    let outputs = OutputFiles::default();
    reopen_on_signal(log, &outputs)?;
    let own = OwnFolders {
        state: Some(std::path::absolute(&arguments.state.directory)?),
        cache: Some(std::path::absolute(arguments.cache.of(&arguments.state))?),
        certificates: Some(Arc::clone(state.certificates())),
    };
    let address = Some(arguments.control.clone());
    let runtime = build(
        &arguments.running,
        workers,
        identity,
        own,
        address,
        outputs.clone(),
        Applications::Several,
    )?;
    let control = Control::new(runtime, state);
    restore(&control).await?;
    // Where nothing was kept, nothing has been put in force yet.
    control.runtime().assume_identity()?;

    if !matches!(arguments.control, ControlAddress::Path(_)) {
        tracing::warn!(
            "the control API has no authentication: whoever connects controls the server"
        );
    }
    let closing = watch::Sender::new(false);
    let (listener, _file) = listener(socket)?;
    let serving = tokio::spawn({
        let control = control.clone();
        let mut closing = closing.subscribe();
        async move {
            let closed = async move {
                let _ = closing.wait_for(|closing| *closing).await;
            };
            match listener {
                Listener::Unix(listener) => {
                    control.serve(PeerCheckedListener(listener), closed).await;
                }
                Listener::Tcp(listener) => control.serve(listener, closed).await,
            }
        }
    });
    tracing::info!(
        "wasmtime-unitd {} is ready; control API on {}",
        env!("CARGO_PKG_VERSION"),
        arguments.control
    );

    let name = stop.first().await;
    tracing::info!("{name}: finishing what is in progress");
    let drained = async {
        closing.send_replace(true);
        if let Err(panic) = serving.await {
            tracing::error!("the control API failed: {panic}");
        }
        control.runtime().drain().await;
    };
    let code = shutdown::drain(arguments.running.shutdown_timeout, drained).await;
    flush_outputs(outputs).await;
    Ok(code)
}

/// Puts in force what was kept over the restart, as far as it can be.
async fn restore(control: &Control<Runtime>) -> Result<()> {
    control.runtime().set_lenient(true);
    let restored = control.restore().await;
    control.runtime().set_lenient(false);
    match restored {
        Ok(Restored::Nothing) => {
            tracing::info!("no configuration is kept: starting with an empty one");
        }
        Ok(Restored::Configuration { warnings }) => {
            for warning in warnings {
                tracing::warn!("{warning}");
            }
        }
        Err(error) => {
            tracing::error!("the kept configuration is not used: {error}");
            if let Some(path) = control.set_aside().await? {
                tracing::error!("it stays in {}; starting with an empty one", path.display());
            }
        }
    }
    Ok(())
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

fn listener(socket: ControlSocket) -> Result<(Listener, Option<socket_file::SocketFile>)> {
    Ok(match socket {
        ControlSocket::Unix(listener, file) => {
            (Listener::Unix(UnixListener::from_std(listener)?), file)
        }
        ControlSocket::Tcp(listener) => (Listener::Tcp(TcpListener::from_std(listener)?), None),
    })
}

/// Writes what guests have printed last, for a second at most.
pub(crate) async fn flush_outputs(outputs: OutputFiles) {
    // The time-out is for a disk that stalls.
    let flushed = tokio::task::spawn_blocking(move || outputs.flush(FLUSH));
    let _ = tokio::time::timeout(FLUSH, flushed).await;
}

pub(crate) fn reopen_on_signal(log: &Log, outputs: &OutputFiles) -> Result<()> {
    let mut reopen = signal(SignalKind::user_defined1())?;
    let (log, outputs) = (log.clone(), outputs.clone());
    tokio::spawn(async move {
        while reopen.recv().await.is_some() {
            let (log, outputs) = (log.clone(), outputs.clone());
            // The disk may take its time. A panic there is logged by its hook.
            let _ = tokio::task::spawn_blocking(move || reopen_files(&log, &outputs)).await;
        }
    });
    // A file that has grown to the process's limit is then an error of the write, and not the end
    // of the server. The handler stays when this is dropped.
    let _ = signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?;
    Ok(())
}

fn reopen_files(log: &Log, outputs: &OutputFiles) {
    match log.reopen() {
        Ok(()) => tracing::info!("SIGUSR1: the log is reopened"),
        Err(error) => tracing::error!("SIGUSR1: {error:#}; the old file goes on"),
    }
    for error in outputs.reopen() {
        tracing::error!("SIGUSR1: {error}; the old file, if any, goes on");
    }
}

fn hand_over(identity: &Identity, state: &StateDir, log: &Log) -> Result<()> {
    for path in state.paths() {
        identity.hand_over(&path)?;
    }
    log.path().map_or(Ok(()), |path| identity.hand_over(path))
}

/// The file with the process id, removed at the end.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> Result<Self> {
        // The folder may be the server's user's, and whoever has broken into that might have put a
        // link there, which root is not to follow.
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
        // If it is gone already, all the better.
        let _ = fs::remove_file(&self.0);
    }
}
