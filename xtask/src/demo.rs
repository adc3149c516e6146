//! `cargo xtask demo`: the walkthrough, as one command.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{self, cargo, target};
use crate::guests;
use crate::toolchain;

const ADDRESS: &str = "127.0.0.1:8080";

/// How long the daemon may take to open its control socket.
const START: Duration = Duration::from_secs(20);

pub(crate) fn run() -> Result<()> {
    require_free_port()?;
    toolchain::require_c_compiler()?;
    println!("xtask: building the example component and the daemon (some minutes the first time)");
    let example = guests::example()?;
    // Not `--package`, which selects other features of dependencies than a build of the workspace: Cranelift and
    // Wasmtime would be built once more. (`cargo test` has features of its own.)
    command::run(cargo().args(["build", "--bin", "wasmtime-unitd"]))?;
    serve(&target().join("debug/wasmtime-unitd"), &example)
}

/// Asked first, since building takes minutes.
fn require_free_port() -> Result<()> {
    match TcpListener::bind(ADDRESS) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("{ADDRESS} is in use; stop what listens there, and start the demo again")
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {ADDRESS}")),
    }
}

fn serve(daemon: &Path, component: &Path) -> Result<()> {
    let component = component
        .canonicalize()
        .with_context(|| component.display().to_string())?;
    let folder = tempfile::Builder::new()
        .prefix("wasmtime-unitd-demo-")
        .tempdir()?;
    let control = folder.path().join("control.sock");

    // From here on Ctrl-C ends the demo in an orderly way.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }

    let log = folder.path().join("unit.log");
    let mut daemon = Daemon(
        Command::new(daemon)
            .arg("--no-daemon")
            .arg("--control")
            .arg(format!("unix:{}", control.display()))
            .arg("--statedir")
            .arg(folder.path().join("state"))
            .stderr(File::create(&log)?)
            // Out of the terminal's reach: Ctrl-C is for this task to pass on, once.
            .process_group(0)
            .spawn()
            .context("cannot start the daemon")?,
    );
    let answer = wait_for(&control, &mut daemon)
        .and_then(|stream| put(stream, &configuration(&component)))
        .with_context(|| {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            format!("the demo does not start; the daemon's log:\n{log}")
        })?;
    print!(
        "\nThe configuration is applied: {}\n\n\
         Try it:\n\n    \
         curl -v http://localhost:8080/hello\\?a\\=b -d 'xyzabcd'\n\n    \
         curl --unix-socket {} http://localhost/config/\n\n\
         The log is {}\n\
         Ctrl-C ends the demo.\n",
        answer.trim(),
        control.display(),
        log.display()
    );
    std::io::stdout().flush()?;

    let mut stopping = false;
    loop {
        if let Some(status) = daemon.0.try_wait()? {
            if stopping && status.success() {
                println!("\nxtask: the daemon has drained and stopped");
                return Ok(());
            }
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("the daemon ended: {status}; its log:\n{log}");
        }
        // A second Ctrl-C is a second signal for the daemon, which stops at once then.
        if stop.swap(false, Ordering::Relaxed) {
            stopping = true;
            daemon.terminate();
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The walkthrough's configuration, trailing comma included.
fn configuration(component: &Path) -> String {
    format!(
        r#"{{
      "listeners": {{
          "{ADDRESS}": {{
              "pass": "applications/wasm"
          }}
      }},

      "applications": {{
          "wasm": {{
              "type": "wasm",
              "module": {component:?},
              "request_handler": "<unused>",
              "malloc_handler": "<unused>",
              "free_handler": "<unused>",
          }}
      }}
  }}
"#
    )
}

fn wait_for(control: &Path, daemon: &mut Daemon) -> Result<UnixStream> {
    let deadline = Instant::now() + START;
    loop {
        match UnixStream::connect(control) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => {
                return Err(error).context("the control socket does not open");
            }
            Err(_) => {}
        }
        if let Some(status) = daemon.0.try_wait()? {
            bail!("the daemon ended: {status}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What `curl -X PUT --data-binary @- --unix-socket … http://localhost/config/` does.
fn put(mut stream: UnixStream, configuration: &str) -> Result<String> {
    // Compiling the component takes its time.
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "PUT /config/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{configuration}",
        configuration.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the control API sent no answer")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("the control API refuses the configuration: {body}");
    }
    Ok(body.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The daemon's process, which does not outlive the demo.
struct Daemon(Child);

impl Daemon {
    fn terminate(&self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            // It may be gone already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
