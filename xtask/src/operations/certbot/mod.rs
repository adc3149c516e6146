//! certbot and its plugin for NGINX Unit, both unchanged, with Debian's `pebble` as the authority. This file gathers
//! the programs; `renewal.rs` has the steps, and runs in namespaces, since the authority asks at port 80.

pub(crate) mod renewal;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::namespaces;
use crate::command::step;
use crate::test_daemon;
use crate::toolchains::debian::DebianProgram;
use crate::toolchains::place::{Failure, Place, Step};
use crate::toolchains::virtual_environment;
use crate::unit::Tree;

/// From PyPI.
const CERTBOT: [&str; 2] = ["certbot==5.8.0", "certbot-nginx-unit==1.1.2"];

/// The authority, and the name server that it asks.
const PEBBLE: [DebianProgram; 2] = [of_pebble("pebble"), of_pebble("pebble-challtestsrv")];

const fn of_pebble(name: &'static str) -> DebianProgram {
    DebianProgram {
        name,
        package: "pebble",
        version_flag: "-help",
    }
}

/// What makes the certificate of pebble's own API.
const AUTHORITY: &str = include_str!("authority.py");

/// Written for this test, with what the plugin asks of Unit's tool.
const STAND_IN: &str = include_str!("unitc.py");

/// Has certbot obtain a certificate and renew it. Gives what was left out.
///
/// # Errors
///
/// When certbot does not succeed, a request fails, or something is not as it should be afterwards.
pub(super) fn test() -> Result<Option<String>> {
    println!("\nxtask: certbot");
    match walk(&Place::new("certbot")?) {
        Ok(left_out) => Ok(left_out),
        Err(Failure::NotHere(reason)) => {
            println!("xtask: not run: certbot: {reason}");
            Ok(Some(format!("the test with certbot: {reason}")))
        }
        Err(Failure::Broken(error)) => Err(error.context("certbot")),
    }
}

fn walk(place: &Place) -> Step<Option<String>> {
    namespaces::require()?;
    let mut pebble = Vec::new();
    for program in PEBBLE {
        pebble.push((program.name, program.find()?.command()));
    }
    virtual_environment(place, &CERTBOT)?;
    let daemon = test_daemon::build()?;

    let folder = tempfile::tempdir()?;
    let programs = folder.path().join("bin");
    fs::create_dir(&programs)?;
    let environment = place.folder.join("venv/bin");
    symlink(environment.join("certbot"), programs.join("certbot"))?;
    for (name, program) in pebble {
        // Which needs no libraries but those of C.
        symlink(program.get_program(), programs.join(name))?;
    }
    // Unit's tools find the server by this name.
    symlink(daemon, programs.join("unitd"))?;
    let unitc = unitc(&programs.join("unitc"))?;
    let mut authority = Command::new(environment.join("python"));
    authority.args(["-c", AUTHORITY]).arg(folder.path());
    place.build("a certificate for pebble's API", &mut authority)?;

    let this = std::env::current_exe().context("the program of this task")?;
    let mut renewal = namespaces::command(this);
    renewal.args(["operations", "renewal"]).arg(folder.path());
    step("certbot obtains and renews a certificate", &mut renewal)?;
    Ok(unitc)
}

/// Puts Unit's tool there, or a stand-in, and says so then.
fn unitc(there: &Path) -> Result<Option<String>> {
    let in_tree = Tree::find()?.map(|tree| tree.path().join("tools/unitc"));
    let in_tree = in_tree.filter(|file| file.is_file());
    if let Some(unitc) = in_path("unitc").or(in_tree) {
        // It can do nothing without them.
        if ["bash", "curl", "ps"]
            .into_iter()
            .all(|name| in_path(name).is_some())
        {
            println!("xtask: certbot: with Unit's {}", unitc.display());
            symlink(unitc, there)?;
            return Ok(None);
        }
    }
    println!("xtask: certbot: with a stand-in for unitc");
    fs::write(there, STAND_IN)?;
    fs::set_permissions(there, fs::Permissions::from_mode(0o755))?;
    Ok(Some(
        "the test with certbot, by Unit's own unitc: it is not in the PATH nor in a tree of Unit (UNIT_SRC), or lacks \
         bash, curl or ps; a stand-in took its place"
            .to_owned(),
    ))
}

/// A program as the shell finds it.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let files = std::env::split_paths(&path).map(|folder| folder.join(name));
    files.into_iter().find(|file| file.is_file())
}
