//! `--config`: puts the files of a configuration in force, at the start and whenever they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use config_files::{Files, Look, ReadError, Source};
use control::{BlockingThreads, ConfigFiles, Control};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::runtime::Runtime;
use crate::settled::{LOOK_EVERY, Settled};

/// How often files that change while they are read are read again before the start gives up.
const ATTEMPTS: usize = 20;

/// The files of a configuration, and the control API that puts them in force.
pub(crate) struct ConfigSource {
    source: Arc<Source>,
    state: ConfigFiles,
    control: Control<Runtime>,
    threads: BlockingThreads,
    /// The files that were ignored last time, so that each change of them is logged once.
    ignored: Vec<PathBuf>,
}

/// What was read, and the version of the files. `None` if they changed meanwhile.
type Read = Option<(Result<Files, ReadError>, Look)>;

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
            ignored: Vec::new(),
        }
    }

    /// Puts the files in force for the first time, and returns their version.
    pub(crate) async fn start(&mut self) -> Result<Look> {
        for _ in 0..ATTEMPTS {
            let Some((files, look)) = self.read().await else {
                sleep(LOOK_EVERY).await;
                continue;
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

    /// Puts further versions in force: those that differ from `look`, and what is there when `reload` is notified.
    /// Never returns.
    pub(crate) async fn watch(mut self, look: Look, reload: Arc<Notify>) {
        let mut settled = Settled::new(look);
        let mut is_asked = false;
        loop {
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = reload.notified() => is_asked = true,
            }
            let source = Arc::clone(&self.source);
            // A panic is logged by the panic hook.
            let Ok(found) = self.threads.spawn(move || source.look()).await else {
                continue;
            };
            if !settled.look(found) && !is_asked {
                continue;
            }
            let Some((files, look)) = self.read().await else {
                continue;
            };
            is_asked = false;
            settled.take(look);
            let was_broken = self.state.problem().is_some();
            match self.apply(files).await {
                Ok(()) if was_broken => {
                    tracing::info!("the configuration's files are in force again");
                }
                Ok(()) => {}
                Err(problem) => tracing::error!(
                    "cannot use the configuration: {problem}; still serving the last one that could be used"
                ),
            }
        }
    }

    async fn read(&self) -> Read {
        let source = Arc::clone(&self.source);
        let read = self.threads.spawn(move || {
            let before = source.look();
            let files = source.read();
            (before == source.look()).then_some((files, before))
        });
        // A panic is logged by the panic hook.
        read.await.ok().flatten()
    }

    /// Returns why the files cannot be in force, which is also their problem from now on.
    async fn apply(&mut self, files: Result<Files, ReadError>) -> Result<(), String> {
        let applied = match files {
            Ok(files) => self.put_in_force(files).await,
            Err(error) => Err(error.to_string()),
        };
        let problem = applied.as_ref().err();
        self.state.set_problem(problem.map(String::as_str));
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
        for path in ignored.iter().filter(|path| !self.ignored.contains(path)) {
            if path.extension().is_some_and(|it| it == "sh") {
                tracing::warn!(
                    "{path:?} is not run: scripts in the configuration's folder are ignored"
                );
            } else {
                tracing::info!("{path:?} is ignored: its name ends with neither .json nor .pem");
            }
        }
        self.ignored = ignored;
    }
}

/// The folder with private keys, if the configuration is in one.
pub(crate) fn secret_folder(config: &Path) -> Option<PathBuf> {
    Source::new(config).folder().map(Path::to_owned)
}
