//! `--initial-config`: the configuration of a server that never had one.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use config::Value;
use config_files::{Files, Source};
use control::{BlockingThreads, Control};

use crate::runtime::Runtime;

/// Puts the configuration in this file in force, and keeps it as if a client had put it.
///
/// # Errors
///
/// If the file cannot be read, the configuration is not valid, or it cannot be kept. Nothing is in force or kept then.
pub(crate) async fn put_in_force(
    control: &Control<Runtime>,
    path: &Path,
    threads: &BlockingThreads,
) -> Result<()> {
    let applied = apply(control, path, threads).await;
    applied.context("cannot use the initial configuration")?;
    tracing::info!(
        "no configuration yet: started with that of {path:?}, which is kept in the state directory from now on"
    );
    Ok(())
}

async fn apply(control: &Control<Runtime>, path: &Path, threads: &BlockingThreads) -> Result<()> {
    let source = Source::new(path);
    let mut files = threads.spawn(move || read(&source)).await??;
    let tree = std::mem::replace(&mut files.tree, Value::Null);
    let Err(error) = control.replace(tree).await else {
        return Ok(());
    };
    let Some(at) = error.path else {
        bail!("{path:?}: {}", error.detail);
    };
    let place = threads.spawn({
        let at = at.clone();
        move || files.place(&at)
    });
    bail!("{}: {} (at \"{at}\")", place.await?, error.detail)
}

fn read(source: &Source) -> Result<Files> {
    if let Some(folder) = source.folder() {
        // Its certificates would have to be kept, too.
        return Err(anyhow!("{folder:?} is a folder; expected a file"));
    }
    Ok(source.read()?)
}
