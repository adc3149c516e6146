//! `wasmtime-unitd serve`: one component, without configuration file or control API.

use std::env;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::absolute;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use config::{Application, Checked, Config, ListenAddress, Listener, Pass, Path, Settings, Value};
use control::Runtime as _;
use engine::OutputFiles;
use untrusted_text::excerpt;

use tokio::sync::mpsc;

use crate::arguments::Serve;
use crate::daemon::{self, ApplicationCount};
use crate::health_socket::HealthSocket;
use crate::inherited_sockets::{self, InheritedSockets};
use crate::log::Log;
use crate::reload;
use crate::runtime::{ConfigContext, OwnFolders};
use crate::service_manager;
use crate::shutdown::{self, StopSignals};

/// The application's name in the log.
const NAME: &str = "component";

/// The variable in which platforms name the port that they pass requests to.
const PORT: &str = "PORT";

/// The port without `--listen` and [`PORT`].
const DEFAULT_PORT: u16 = 8080;

pub(crate) fn run(serve: &Serve, mut inherited: InheritedSockets) -> Result<ExitCode> {
    let log = Log::start(&serve.logging)?;
    inherited.log();
    let _flush = log.flush_at_end();
    let application = application(serve)?;
    if serve.serving.no_compile && serve.cache.cachedir.is_none() {
        bail!("--no-compile needs --cachedir, since nothing could be loaded without a cache");
    }
    let workers = serve.serving.workers()?;
    let _health = HealthSocket::serve(&serve.serving, &workers, &mut inherited)?;
    service_manager::report(&workers);
    let listen = match serve.listen {
        Some(address) => address,
        None => match inherited.only_address() {
            Some(address) => address,
            None => default_address(env::var_os(PORT).as_deref())?,
        },
    };
    let config = Config {
        settings: Settings {
            // No limit, since there is no option for it here. The component may refuse a body itself.
            max_body_size: u64::MAX,
            ..Settings::default()
        },
        listeners: vec![Listener {
            address: ListenAddress::from(listen),
            pass: Pass::Application(NAME.to_owned()),
            backlog: None,
            tls: None,
            forwarded: Vec::new(),
        }],
        applications: vec![application],
        ..Config::default()
    };
    let outputs = OutputFiles::default();
    let code = workers.run(async {
        let stop = StopSignals::listen(&log, workers.health())?;
        daemon::reopen_on_signal(&log, &outputs, workers.control())?;
        let runtime = daemon::build(
            &serve.serving,
            &workers,
            None,
            OwnFolders {
                state: None,
                config: None,
                cache: serve.cache.cachedir.as_deref().map(absolute).transpose()?,
                secret: None,
            },
            ConfigContext::default(),
            outputs.clone(),
            ApplicationCount::One,
        )?;
        inherited.hand_over(runtime.server());
        let prepared = runtime
            .prepare(&config)
            .await
            .map_err(|error| anyhow!(error.detail))?;
        runtime.commit(prepared);
        inherited_sockets::warn_of_unused(runtime.server());
        for address in runtime.server().addresses() {
            println!("Serving {} on http://{address}/", serve.component.display());
        }
        if serve.watch {
            let restarting = runtime.clone();
            let restart = async move |name: String| restarting.restart(&name).await;
            let (runtime, threads) = (runtime.clone(), workers.control().clone());
            let (_, never) = mpsc::channel(1);
            tokio::spawn(async move { reload::watch(runtime, threads, never, restart).await });
        }
        service_manager::ready();
        stop.requested(&serve.serving, runtime.server()).await;
        let code = shutdown::drain(serve.serving.shutdown_timeout, runtime.drain()).await;
        outputs.keep_open();
        Ok(code)
    });
    daemon::finish(workers, &outputs);
    code
}

/// Where to listen without `--listen`: on the port of [`PORT`], if it is set, for all, since the platform that sets it
/// connects from elsewhere. Otherwise for this machine only.
fn default_address(port: Option<&OsStr>) -> Result<SocketAddr> {
    let Some(port) = port.filter(|port| !port.is_empty()) else {
        return Ok((Ipv4Addr::LOCALHOST, DEFAULT_PORT).into());
    };
    let text = port.to_string_lossy();
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if is_number && port > 0 => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        _ => bail!(
            "the environment variable {PORT} is not a port from 1 to 65535: \"{}\"",
            excerpt(&text)
        ),
    }
}

/// The application that the arguments describe, checked like one of a configuration.
fn application(serve: &Serve) -> Result<Application> {
    let mut tree = config::parse(
        br#"{"applications": {"component": {
            "type": "wasm-wasi-component", "component": "/",
            "environment": {}, "authority": "host", "limits": {}, "instances": {}, "access": {}
        }}}"#,
    )?;
    let root: Path = ["applications", NAME].into_iter().collect();
    for setting in &serve.set {
        let segments = root.segments().iter().chain(setting.path.segments());
        let path = segments.map(String::as_str).collect();
        tree = config::put(&tree, &path, setting.value.clone())
            .with_context(|| format!("--set {}", setting.path))?;
    }
    let Checked { config, warnings } = check(&tree)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let Some(mut application) = config.applications.into_iter().next() else {
        bail!("there is no application");
    };
    // Not through the JSON above, since a path need not be UTF-8.
    application.component = absolute(&serve.component)?;
    application.reload |= serve.watch;
    application.environment.extend(serve.env.iter().cloned());
    Ok(application)
}

fn check(tree: &Value) -> Result<Checked> {
    Config::check(tree).map_err(|error| {
        let hint = error
            .suggestion
            .map_or_else(String::new, |word| format!(" Did you mean \"{word}\"?"));
        anyhow!("--set: {error}{hint}")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn the_port_of_the_environment_is_listened_on_for_all() {
        let address = |port: &str| default_address(Some(port.as_ref())).unwrap().to_string();
        assert_eq!(default_address(None).unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(address(""), "127.0.0.1:8080");
        assert_eq!(address("3000"), "0.0.0.0:3000");
        assert_eq!(address("65535"), "0.0.0.0:65535");
        for port in [
            &b"0"[..],
            b"65536",
            b"-1",
            b"+80",
            b" 80",
            b"80\n",
            b"http",
            b"tcp://1.2.3.4:80",
            b"\xff",
        ] {
            let error = default_address(Some(OsStr::from_bytes(port))).unwrap_err();
            let error = error.to_string();
            let message = "the environment variable PORT is not a port from 1 to 65535: \"";
            assert!(error.starts_with(message), "{error}");
        }
    }
}
