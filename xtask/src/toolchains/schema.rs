//! The validator of JSON Schema that PyPI has, and the test that the configuration's schema agrees with the check.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::place::{Failure, Place};
use super::virtual_environment;
use crate::command::{cargo, step, target};

const VALIDATOR: &str = "jsonschema==4.26.0";

/// An empty folder, for the configurations that servers accept in a run of all tests.
///
/// # Errors
///
/// When it cannot be made.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = target().join("configurations");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Compares the schema with the check, for the configurations in this folder as well, if there is one. Gives the
/// reason if this machine cannot have the validator.
///
/// # Errors
///
/// When the two differ.
pub(crate) fn run(configurations: Option<&Path>) -> Result<Option<String>> {
    let place = Place::new("jsonschema")?;
    match virtual_environment(&place, &[VALIDATOR]) {
        Ok(_) => {}
        Err(Failure::NotHere(reason)) => {
            println!("xtask: not run: the test of the JSON Schema: {reason}");
            return Ok(Some(format!("the test of the JSON Schema: {reason}")));
        }
        Err(Failure::Broken(error)) => return Err(error.context("jsonschema")),
    }
    let mut tests = cargo();
    // Of all packages, since for one alone what it shares with the others would be built again.
    tests.args(["test", "--lib", "the_schema_agrees_with_the_check"]);
    tests.env("JSONSCHEMA_PYTHON", place.folder.join("venv/bin/python"));
    if let Some(folder) = configurations {
        tests.env("CONFIGURATIONS", folder);
    }
    step("the test of the JSON Schema", &mut tests)?;
    Ok(None)
}
