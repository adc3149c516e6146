//! The server as a service: configured through its control socket.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use control::{BlockingThreads, Control, Restored, StateDir};
use engine::{Engine, OutputFiles};
use nix::fcntl::OFlag;
use server::{Server, Settings};
use sockets::{Listener, SocketFile};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::arguments::{Arguments, Running};
use crate::control_socket::{Access, ControlAddress, ControlSocket};
use crate::log::Log;
use crate::open_files::Files;
use crate::privileges::{Identity, find_group, find_user};
use crate::runtime::{OwnFolders, Runtime, server_name};
use crate::shutdown::{self, StopSignals};
use crate::workers::Workers;

/// Permissions of the control socket where no others are asked for.
const CONTROL_MODE: u32 = 0o600;

/// The least limit on response data that is held for clients.
const LEAST_HELD_FOR_CLIENTS: u64 = 64 << 20;

/// How long the end of the server waits for the access log and the files of guests' output.
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
    let _pid = arguments.pid.as_deref().map(PidFile::write).transpose()?;
    if let Some(identity) = &identity {
        hand_over(identity, &state, &log)?;
    }
    let workers = arguments.running.workers()?;
    let outputs = OutputFiles::default();
    let code = workers.run(serve(
        arguments, &workers, &log, identity, state, socket, &outputs,
    ));
    finish(workers, &outputs);
    code
}

/// Cuts off what is still in progress, and then writes the last lines of the access log and of guests' output, those
/// included that come of the cutting off.
pub(crate) fn finish(workers: Workers, outputs: &OutputFiles) {
    drop(workers);
    outputs.flush(FLUSH);
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
        share_files: files.shares,
        held_for_clients: held_for_clients(&engine),
        runtimes,
        settings: Settings::new(server_name(true)),
    });
    let threads = workers.control().clone();
    Ok(Runtime::new(
        engine, own, control, server, outputs, identity, threads,
    ))
}

async fn serve(
    arguments: &Arguments,
    workers: &Workers,
    log: &Log,
    identity: Option<Identity>,
    state: StateDir,
    socket: ControlSocket,
    outputs: &OutputFiles,
) -> Result<ExitCode> {
    let stop = StopSignals::listen(log)?;
    reopen_on_signal(log, outputs, workers.control())?;
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
    let control = Control::new(runtime, state, workers.control().clone());
    restore(&control).await?;
    // Where nothing was kept, nothing has been put in force yet.
    control.runtime().assume_identity()?;

    if !matches!(arguments.control, ControlAddress::Path(_)) {
        tracing::warn!(
            "the control API has no authentication: everyone who can connect controls the server"
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
            control.serve(listener, closed).await;
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
        // Before the listeners are closed: a change may have opened some.
        control.finish_changes().await;
        let control_api = async {
            if let Err(panic) = serving.await {
                tracing::error!("the control API failed: {panic}");
            }
        };
        // Clients must not be accepted for as long as a client of the control API takes to read its answer.
        tokio::join!(control_api, control.runtime().drain());
    };
    let code = shutdown::drain(arguments.running.shutdown_timeout, drained).await;
    outputs.keep_open();
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

fn listener(socket: ControlSocket) -> Result<(Listener, Option<SocketFile>)> {
    Ok(match socket {
        ControlSocket::Unix(listener, file) => {
            (Listener::Unix(UnixListener::from_std(listener)?), file)
        }
        ControlSocket::Tcp(listener) => (Listener::Tcp(TcpListener::from_std(listener)?), None),
    })
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
            // The disk may take its time. A panic there is logged by its hook.
            let _ = threads.spawn(move || reopen_files(&log, &outputs)).await;
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
        // The folder may be the server's user's. An attacker who is that user could put a link there, which root
        // must not follow.
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
