//! `wasmtime-unitd serve`: one component, no configuration.

use std::path::absolute;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use config::{Application, Config, ListenAddress, Listener, Pass};
use control::Runtime as _;
use engine::OutputFiles;

use crate::arguments::{Arguments, Serve};
use crate::daemon;
use crate::log::Log;
use crate::shutdown::StopSignals;

/// The application's name, in the log.
const NAME: &str = "component";

pub(crate) fn run(arguments: &Arguments, serve: &Serve) -> Result<ExitCode> {
    let log = Log::start(arguments.log.as_deref(), arguments.log_level)?;
    let mut application = Application::new(NAME, absolute(&serve.component)?);
    application.environment.clone_from(&serve.env);
    let config = Config {
        listeners: vec![Listener {
            address: ListenAddress::from(serve.listen),
            pass: Pass::Application(NAME.to_owned()),
            backlog: None,
        }],
        applications: vec![application],
    };
    daemon::runtime()?.block_on(async {
        let mut stop = StopSignals::listen()?;
        let outputs = OutputFiles::default();
        daemon::reopen_on_signal(&log, &outputs)?;
        let runtime = daemon::build(None, outputs)?;
        let prepared = runtime
            .prepare(&config)
            .await
            .map_err(|error| anyhow!(error.detail))?;
        runtime.commit(prepared);
        for address in runtime.server().addresses() {
            println!("Serving {} on http://{address}/", serve.component.display());
        }
        let name = stop.next().await;
        tracing::info!("{name}: finishing what is in progress");
        Ok(stop
            .drain(arguments.shutdown_timeout, runtime.drain())
            .await)
    })
}
