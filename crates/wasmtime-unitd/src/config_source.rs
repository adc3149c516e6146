//! `--config`: puts the files of a configuration in force, at the start and whenever they change.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use config_files::{Files, Look, ReadError, Source};
use control::{BlockingThreads, ConfigFiles, Control, Runtime as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::hang_up::ReloadRequest;
use crate::runtime::Runtime;
use crate::settled::{LOOK_EVERY, MAX_LOOKS, Settled};

/// How often files that change while they are read are read again before the start gives up.
const ATTEMPTS: u32 = 20;

/// Files that were changed longer ago are read at the start without waiting for a second look.
const SETTLED_FOR: Duration = Duration::from_secs(1);

/// The pause before files that could not be put in force are tried again, since the reason may be outside of them: a
/// component that is deployed a moment later, an address in use. Each further pause is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// The key of the warning that readiness has.
const WARNING: &str = "config files";

/// The files of a configuration, and the control API that puts them in force.
pub(crate) struct ConfigSource {
    source: Arc<Source>,
    state: ConfigFiles,
    control: Control<Runtime>,
    threads: BlockingThreads,
    /// The files that were ignored last time, so that each of them is logged once.
    ignored: HashSet<PathBuf>,
}

impl ConfigSource {
    pub(crate) fn new(
        state: ConfigFiles,
        control: Control<Runtime>,
        threads: BlockingThreads,
    ) -> Self {
        Self {
            source: Arc::new(Source::new(state.path())),
            state,
            control,
            threads,
            ignored: HashSet::new(),
        }
    }

    /// Puts the files in force for the first time, and returns their version.
    pub(crate) async fn start(&mut self) -> Result<Look> {
        // As long as for a change, see `Settled`; then they are read although they keep changing.
        for looks in 0..MAX_LOOKS + ATTEMPTS {
            let look = self.look().await?;
            if looks < MAX_LOOKS && !look.is_older_than(SystemTime::now() - SETTLED_FOR) {
                sleep(LOOK_EVERY).await;
            }
            let Some(files) = self.read(&look).await else {
                continue;
            };
            let files = match files {
                // As in an image whose folder is empty; a folder that becomes empty later is an error.
                Err(ReadError::NoConfiguration(folder)) => {
                    tracing::warn!(
                        "{folder:?} has no file whose name ends with .json: starting with an empty configuration"
                    );
                    self.control.runtime().report_readiness();
                    return Ok(look);
                }
                files => files,
            };
            if let Err(problem) = self.apply(files).await {
                bail!("cannot use the configuration: {problem}");
            }
            return Ok(look);
        }
        bail!(
            "cannot use the configuration: {:?} changes again and again",
            self.source.path()
        );
    }

    /// Looks again after privileges have been dropped, and returns the version that the server's user sees.
    ///
    /// # Errors
    ///
    /// If that user cannot read the files, and would not see a change of them.
    pub(crate) async fn look_as_user(&self) -> Result<Look> {
        for _ in 0..ATTEMPTS {
            let look = self.look().await?;
            let files = self.read(&look).await;
            match files.transpose() {
                Ok(Some(_)) | Err(ReadError::NoConfiguration(_)) => return Ok(look),
                Ok(None) => {}
                Err(error) => {
                    // Without its sources, which its text has.
                    return Err(anyhow!(error.to_string()))
                        .context("the user of --user cannot read the configuration");
                }
            }
        }
        bail!("{:?} changes again and again", self.source.path());
    }

    /// Puts further versions in force: those that differ from `look`, and what is there when a reload is asked for.
    /// Never returns.
    pub(crate) async fn watch(mut self, look: Look, mut requests: mpsc::Receiver<ReloadRequest>) {
        let mut settled = Settled::new(look);
        let mut asked: Option<ReloadRequest> = None;
        let mut pause = FIRST_RETRY;
        // A start leaves out what cannot be served.
        let mut retry_at = (!self.is_complete()).then(|| Instant::now() + pause);
        loop {
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                Some(request) = requests.recv() => asked = Some(request),
            }
            // A panic is logged by the panic hook.
            let Ok(found) = self.look().await else {
                continue;
            };
            // Files that change all the time must not keep changes of others out.
            let is_new = settled.look(found.clone()) || settled.is_overdue();
            let is_due = retry_at.is_some_and(|at| at <= Instant::now());
            if !is_new && asked.is_none() && !is_due {
                continue;
            }
            let Some(files) = self.read(&found).await else {
                continue;
            };
            settled.take(found);
            if is_new || asked.is_some() {
                pause = FIRST_RETRY;
            }
            retry_at = match self.put_in_force_again(files).await {
                Ok(()) if self.is_complete() => None,
                Ok(()) | Err(()) => Some(Instant::now() + pause),
            };
            pause = (pause * 2).min(LAST_RETRY);
            // Dropped, since it is done.
            asked = None;
        }
    }

    /// Whether all of the configuration in force is served.
    fn is_complete(&self) -> bool {
        self.control.runtime().report_readiness()
    }

    async fn look(&self) -> Result<Look> {
        let source = Arc::clone(&self.source);
        Ok(self.threads.spawn(move || source.look()).await?)
    }

    /// The files in this version. `None` if they have another one by now, or reading them panicked, which is logged.
    async fn read(&self, version: &Look) -> Option<Result<Files, ReadError>> {
        let (source, version) = (Arc::clone(&self.source), version.clone());
        let read = self.threads.spawn(move || {
            let files = source.read();
            (source.look() == version).then_some(files)
        });
        read.await.ok().flatten()
    }

    /// Logs what changes: a problem, another problem, no problem any more.
    async fn put_in_force_again(&mut self, files: Result<Files, ReadError>) -> Result<(), ()> {
        let before = self.state.problem();
        match self.apply(files).await {
            Ok(()) => {
                if before.is_some() {
                    tracing::info!("the configuration's files are in force again");
                }
                Ok(())
            }
            Err(problem) => {
                if self.state.problem() != before {
                    tracing::error!(
                        "cannot use the configuration: {problem}; still serving the last one that could be used"
                    );
                }
                Err(())
            }
        }
    }

    /// Returns why the files cannot be in force, which is also their problem from now on.
    async fn apply(&mut self, files: Result<Files, ReadError>) -> Result<(), String> {
        let applied = match files {
            Ok(files) => self.put_in_force(files).await,
            Err(error) => Err(error.to_string()),
        };
        let problem = applied.as_ref().err();
        self.state.set_problem(problem.map(String::as_str));
        // Not more than a warning: files that cannot be used are the same everywhere, and must not take all servers out
        // of service at once.
        let warning = problem.map(|it| format!("the configuration's files are not in force: {it}"));
        let health = self.control.runtime().health();
        health.set_warning(WARNING, warning);
        applied
    }

    async fn put_in_force(&mut self, mut files: Files) -> Result<(), String> {
        self.report_ignored(std::mem::take(&mut files.ignored));
        let tree = std::mem::replace(&mut files.tree, config::Value::Null);
        let certificates = std::mem::take(&mut files.certificates);
        // Warnings are logged by the control API, as those of any change.
        let applied = self.control.apply(tree, certificates).await;
        let Err(error) = applied else { return Ok(()) };
        let path = self.source.path();
        let Some(at) = error.path else {
            return Err(format!("{path:?}: {}", error.detail));
        };
        let place = {
            let at = at.clone();
            self.threads.spawn(move || files.place(&at)).await
        };
        let place = place.unwrap_or_else(|_| format!("{path:?}"));
        Err(format!("{place}: {} (at \"{at}\")", error.detail))
    }

    fn report_ignored(&mut self, ignored: Vec<PathBuf>) {
        let new = ignored.iter().filter(|path| !self.ignored.contains(*path));
        for path in new {
            if path.extension().is_some_and(|it| it == "sh") {
                tracing::warn!(
                    "{path:?} is not run: scripts in the configuration's folder are ignored"
                );
            } else {
                tracing::info!("{path:?} is ignored: its name ends with neither .json nor .pem");
            }
        }
        self.ignored = ignored.into_iter().collect();
    }
}

/// The folder with private keys, if the configuration is in one.
pub(crate) fn secret_folder(config: &Path) -> Option<PathBuf> {
    Source::new(config).folder().map(Path::to_owned)
}
