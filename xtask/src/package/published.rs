//! The packages of a release, beside the archive of the daemon.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::target::Architecture;
use super::{debian, image, sbom, static_binary};
use crate::command::has_program;

/// What is published is built in this profile.
const PROFILE: &str = "release";

/// Programs that making the packages needs, with the Debian package of each.
const TOOLS: [(&str, &str); 3] = [
    ("buildah", "buildah"),
    ("dpkg-deb", "dpkg"),
    ("dpkg-shlibdeps", "dpkg-dev"),
];

/// What this machine lacks to make the packages of a release.
pub(crate) fn missing() -> Vec<String> {
    let tools = TOOLS.iter().filter(|(program, _)| !has_program(program));
    let mut missing: Vec<_> = tools
        .map(|(program, package)| {
            format!("no {program} on this machine (on Debian: apt-get install {package})")
        })
        .collect();
    missing.extend(
        Architecture::ALL
            .iter()
            .filter_map(|architecture| architecture.missing_compiler()),
    );
    missing
}

/// A static daemon with its debug symbols, and the target that it is for.
pub(crate) struct StaticDaemon {
    pub(crate) built: PathBuf,
    pub(crate) target: &'static str,
}

/// Makes the packages in a folder: images and lists of components for all processors, and the Debian packages of the
/// daemon `built`. Gives the static daemons, which are still to be packed.
///
/// # Errors
///
/// When a step fails.
pub(crate) fn write(built: &Path, folder: &Path) -> Result<Vec<StaticDaemon>> {
    let mut daemons = Vec::new();
    for architecture in Architecture::ALL {
        copy(&image::package(architecture, PROFILE)?, folder)?;
        copy(&sbom::package(architecture)?, folder)?;
        daemons.push(StaticDaemon {
            built: static_binary::built(architecture, PROFILE),
            target: architecture.triple(),
        });
    }
    let packages = debian::package_of(built)?;
    copy(&packages.daemon, folder)?;
    if let Some(symbols) = &packages.symbols {
        copy(symbols, folder)?;
    }
    Ok(daemons)
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default();
    fs::copy(file, folder.join(name)).with_context(|| file.display().to_string())?;
    Ok(())
}
