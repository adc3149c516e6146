//! The command line: flags, their defaults and their help texts. Checks syntax only.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use code_cache::MappedCode;
use config::{Path, Value};
use engine::CodeMemory;
use tracing::Level;

use crate::control_address::ControlAddress;
use crate::workers::Workers;

/// Serves WebAssembly HTTP components, with NGINX Unit's control API and configuration.
///
/// Without a command it runs as a server in the foreground, and is configured through its control
/// socket:
///
///   curl -X PUT --data-binary @config.json --unix-socket SOCKET http://localhost/config/
///
/// SIGTERM, SIGINT and SIGQUIT start a graceful shutdown, after --shutdown-delay, in which requests in
/// progress finish. A second signal stops the server immediately. SIGUSR1 reopens the log and other
/// output files. SIGHUP reads the files of --config again, and loads components whose files have
/// changed.
#[derive(Debug, Parser)]
#[command(
    version,
    name = "wasmtime-unitd",
    about,
    verbatim_doc_comment,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Address of the control API: unix:PATH, unix:@NAME, or ADDRESS:PORT. There is no
    /// authentication: every client that can connect controls the server.
    #[arg(long, value_name = "ADDRESS", default_value = CONTROL)]
    pub(crate) control: ControlAddress,

    /// Permissions of the control socket, in octal [default: 0600].
    #[arg(long, value_name = "MODE", value_parser = octal)]
    pub(crate) control_mode: Option<u32>,

    /// Owner of the control socket [default: the user that starts the server].
    #[arg(long, value_name = "USER")]
    pub(crate) control_user: Option<String>,

    /// Group of the control socket [default: the group of the user that starts the server].
    #[arg(long, value_name = "GROUP")]
    pub(crate) control_group: Option<String>,

    /// Take the configuration from this file, or from a folder: its *.json are merged, its *.pem are
    /// certificates. Changes of the files are put in force; the control API refuses changes.
    /// [default: none, the configuration is that of the state directory].
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,

    /// Start with the configuration in this file if the state directory has none yet. From then on it
    /// is kept there, and changed over the control API; the file is not read again [default: none, the
    /// configuration is empty].
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub(crate) initial_config: Option<PathBuf>,

    /// Allow ${env:NAME} and ${file:PATH} in strings that clients of the control API send, and in
    /// --initial-config. These let clients read the environment and the files of the server. Always
    /// allowed in --config.
    #[arg(long, conflicts_with = "config")]
    pub(crate) allow_substitution: bool,

    #[command(flatten)]
    pub(crate) state: StateFolder,

    #[command(flatten)]
    pub(crate) cache: CacheFolder,

    /// Write the process id to this file [default: none].
    #[arg(long, value_name = "FILE")]
    pub(crate) pid: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) logging: Logging,

    /// User to switch to once the control socket, the log and the listeners of the saved
    /// configuration are open [default: the user that starts the server].
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// Group to switch to [default: the primary group of --user].
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,

    #[command(flatten)]
    pub(crate) serving: ServingOptions,

    /// Ignored, for compatibility with unitd: no temporary files are written.
    #[arg(long, visible_alias = "tmp", value_name = "DIRECTORY")]
    pub(crate) tmpdir: Option<PathBuf>,

    /// Ignored, for compatibility with unitd: no modules are loaded.
    #[arg(long, visible_alias = "modules", value_name = "DIRECTORY")]
    pub(crate) modulesdir: Option<PathBuf>,

    /// Ignored, for compatibility with unitd: the server always stays in the foreground.
    #[arg(long)]
    pub(crate) no_daemon: bool,
}

/// The default address of the control API.
pub(crate) const CONTROL: &str = "unix:/run/wasmtime-unitd/control.sock";

/// The default state directory.
pub(crate) const STATE: &str = "/var/lib/wasmtime-unitd";

/// The default cache's folder in the state directory.
const CACHE: &str = "compiled";

/// A larger number would be a typing error: each instance reserves address space.
const MAX_INSTANCES: i64 = 100_000;

/// With less, the instances of most programs could not start.
const MIN_MEMORY: u64 = 16 << 20;

/// A larger number would be a typing error: threads beyond the number of cores gain nothing. Evaluated at compile
/// time, so the `unwrap` cannot panic.
const MAX_THREADS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve one component, without a configuration.
    Serve(Serve),
    /// Check a configuration: its syntax, its content, and whether its components load.
    Check(Check),
    /// Compile components into the cache, so that the server starts without compiling. Has to be
    /// run as the server's user.
    Compile(Compile),
    /// Print a JSON Schema of the configuration, by which editors complete and check it.
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct StateFolder {
    /// Directory for the configuration and certificates, which are restored at a start.
    #[arg(
        long = "statedir",
        visible_alias = "state",
        value_name = "DIRECTORY",
        default_value = STATE
    )]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CacheFolder {
    /// Cache of compiled components: a directory that only the server's user may enter [default:
    /// compiled in the state directory; none for `serve`].
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) cachedir: Option<PathBuf>,
}

impl CacheFolder {
    /// The folder, whose default is in the state directory.
    pub(crate) fn of(&self, state: &StateFolder) -> PathBuf {
        let default = || state.directory.join(CACHE);
        self.cachedir.clone().unwrap_or_else(default)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Logging {
    /// Append the log to this file [default: standard error].
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// Lowest level that is logged: error, warn, info or debug.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    pub(crate) log_level: Level,

    /// Form of the log's lines: text or json.
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = log_format)]
    pub(crate) log_format: LogFormat,
}

/// The form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Unit's; in the journal without times, which that adds.
    Text,
    /// One object for each line.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ServingOptions {
    /// Seconds for which the server still accepts connections after a signal to stop, but is not ready.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) shutdown_delay: Duration,

    /// Seconds that requests in progress get to finish in a graceful shutdown.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) shutdown_timeout: Duration,

    /// Address for health checks: unix:PATH, unix:@NAME, or ADDRESS:PORT. GET /live and /ready are
    /// answered there with 200 or 503 [default: none].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen_health: Option<ControlAddress>,

    /// Maximum number of instances at a time, of all applications together [default: one for each
    /// 16 MiB of --max-memory, at least 16 and at most 1000].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=MAX_INSTANCES))]
    pub(crate) max_instances: Option<u32>,

    /// Maximum memory of all instances together, in bytes [default: three quarters of the memory of
    /// the machine or control group].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(MIN_MEMORY..))]
    pub(crate) max_memory: Option<u64>,

    /// Number of threads that serve connections; a connection stays on one of them [default: one for
    /// each core that the process may use].
    #[arg(long, value_name = "NUMBER", value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Never compile: load components from the cache only, which the command `compile` fills. One
    /// that is not there does not load.
    #[arg(long)]
    pub(crate) no_compile: bool,
}

impl ServingOptions {
    pub(crate) fn workers(&self) -> anyhow::Result<Workers> {
        Workers::start(self.threads)
    }

    pub(crate) fn engine(&self) -> engine::Options {
        let mut options = self
            .max_memory
            .map_or_else(engine::Options::default, engine::Options::for_memory);
        options.instances = self.max_instances.unwrap_or(options.instances);
        // A server that never compiles can do without executable memory that it has written itself. Other processors
        // than x86-64 need their caches of instructions cleared, which only Wasmtime's own way does.
        let maps_code = self.no_compile && cfg!(target_arch = "x86_64");
        options.code_memory = maps_code.then(|| CodeMemory::new(MappedCode));
        options
    }
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration's file, or its folder as in --config, or - for standard input.
    pub(crate) file: PathBuf,

    /// The server's state directory. Without it, certificates are not checked, and the server's own
    /// files are assumed to be in /var/lib/wasmtime-unitd.
    #[arg(long, visible_alias = "state", value_name = "DIRECTORY")]
    pub(crate) statedir: Option<PathBuf>,

    /// Address of the server's control API, to warn of routes that expose it.
    #[arg(long, value_name = "ADDRESS", default_value = CONTROL)]
    pub(crate) control: ControlAddress,

    #[command(flatten)]
    pub(crate) cache: CacheFolder,
}

impl Check {
    /// The state directory of the server that the configuration is for.
    pub(crate) fn state(&self) -> StateFolder {
        let named = self.statedir.clone();
        StateFolder {
            directory: named.unwrap_or_else(|| STATE.into()),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Compile {
    /// Files of the components.
    #[arg(required = true, value_name = "COMPONENT")]
    pub(crate) components: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) state: StateFolder,

    #[command(flatten)]
    pub(crate) cache: CacheFolder,

    #[command(flatten)]
    pub(crate) logging: Logging,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// File of the component.
    pub(crate) component: PathBuf,

    /// Address to listen on; with port 0 the system chooses the port [default: 127.0.0.1:8080, or
    /// 0.0.0.0:$PORT if the environment has the variable PORT].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// Environment variable of the component; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,

    /// Option of the application: its path in the configuration, and its value in JSON. May be
    /// repeated. Examples: limits/timeout=5, or 'access/outbound_http=["https://*"]'.
    #[arg(long, value_name = "OPTION=JSON", value_parser = setting)]
    pub(crate) set: Vec<Setting>,

    /// Load the component again when its file changes.
    #[arg(long)]
    pub(crate) watch: bool,

    #[command(flatten)]
    pub(crate) cache: CacheFolder,

    #[command(flatten)]
    pub(crate) logging: Logging,

    #[command(flatten)]
    pub(crate) serving: ServingOptions,
}

/// One option of an application.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) path: Path,
    pub(crate) value: Value,
}

fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("not an octal mode between 0 and 777".to_owned()),
    }
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse() {
        Ok(threads) if threads <= MAX_THREADS => Ok(threads),
        _ => Err(format!("not a number from 1 to {MAX_THREADS}")),
    }
}

fn level(text: &str) -> Result<Level, String> {
    match text {
        "error" => Ok(Level::ERROR),
        "warn" => Ok(Level::WARN),
        "info" => Ok(Level::INFO),
        "debug" => Ok(Level::DEBUG),
        _ => Err("expected error, warn, info or debug".to_owned()),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected text or json".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .map(Duration::from_secs)
        .map_err(|_| "not a whole number of seconds".to_owned())
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("not of the form NAME=VALUE".to_owned()),
    }
}

fn setting(text: &str) -> Result<Setting, String> {
    let (path, value) = text
        .split_once('=')
        .ok_or_else(|| "not of the form OPTION=JSON".to_owned())?;
    let path = Path::parse(path).map_err(|error| error.to_string())?;
    match path.segments().first().map(String::as_str) {
        None => return Err("no option before the =".to_owned()),
        Some(name @ ("type" | "component" | "module")) => {
            return Err(format!("{name} is set by the argument COMPONENT"));
        }
        Some(_) => {}
    }
    let value = config::parse(value.as_bytes()).map_err(|error| error.to_string())?;
    Ok(Setting { path, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["wasmtime-unitd"], arguments].concat())
    }

    #[test]
    fn the_declaration_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn unitds_flags_are_understood() {
        let arguments = parse(&[
            "--no-daemon",
            "--control",
            "127.0.0.1:8001",
            "--control-mode",
            "660",
            "--state",
            "/s",
            "--tmp",
            "/t",
            "--modules",
            "/m",
            "--pid",
            "/p",
        ])
        .unwrap();
        assert_eq!(arguments.control_mode, Some(0o660));
        assert_eq!(arguments.state.directory, PathBuf::from("/s"));
        assert!(parse(&["--control-mode", "999"]).is_err());
        assert!(parse(&["--control-mode", "7777"]).is_err());
        assert!(parse(&["--control", "nonsense"]).is_err());
        assert!(parse(&["--nonsense"]).is_err());
    }

    #[test]
    fn options_of_the_daemon_are_refused_together_with_a_command() {
        assert!(parse(&["--user", "www", "serve", "c.wasm"]).is_err());
        assert!(parse(&["serve", "c.wasm", "--user", "www"]).is_err());
        assert!(parse(&["--pid", "p", "check", "-"]).is_err());
        assert!(parse(&["serve", "c.wasm", "--log", "l"]).is_ok());
    }

    #[test]
    fn the_number_of_threads_is_bounded() {
        for (number, fits) in [
            ("0", false),
            ("1", true),
            ("1024", true),
            ("1025", false),
            ("-1", false),
        ] {
            let parsed = parse(&["serve", "c.wasm", &format!("--threads={number}")]);
            assert_eq!(parsed.is_ok(), fits, "{number}");
        }
    }

    #[test]
    fn variables_have_a_name() {
        assert!(parse(&["serve", "c.wasm", "--env", "A=b=c"]).is_ok());
        assert!(parse(&["serve", "c.wasm", "--env", "=b"]).is_err());
        assert!(parse(&["serve", "c.wasm", "--env", "a"]).is_err());
    }

    #[test]
    fn settings_have_a_path_and_a_value_in_json() {
        let set = |text| parse(&["serve", "c.wasm", "--set", text]);
        assert!(set("limits/timeout=5").is_ok());
        assert!(set(r#"access/outbound_http=["http://a.example/?=b"]"#).is_ok());
        for text in [
            "limits/timeout",
            "=5",
            "/=5",
            "limits=",
            "limits={",
            "%zz=1",
        ] {
            assert!(set(text).is_err(), "{text}");
        }
        let error = set(r#"component="/c.wasm""#).unwrap_err().to_string();
        assert!(error.contains("COMPONENT"), "{error}");
    }
}
