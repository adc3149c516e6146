//! `cargo xtask fuzz`: libFuzzer on the functions that read what comes from outside.
//!
//! The toolchain is the pinned one: its compiler can count what is reached, which is all that libFuzzer
//! asks for. The sanitizers, which take a nightly one, look for what safe code does not have.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{root, run};
use crate::release::host;

pub(crate) const HELP: &str = "\
Usage: cargo xtask fuzz [TARGET [SECONDS]]

Runs one of the targets in fuzz/fuzz_targets, or all of them one after the other, for 60 seconds each.
Inputs that reach new code are kept below target/fuzz/corpus; inputs that fail, in target/fuzz. To run
one again: cargo xtask fuzz TARGET FILE
";

/// The entry points for fuzzing, and what libFuzzer needs of the code that it looks at.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

pub(crate) fn command(arguments: &[&str]) -> Result<()> {
    let (target, what) = match *arguments {
        [] => (None, "60"),
        [target] => (Some(target), "60"),
        [target, what] => (Some(target), what),
        _ => bail!("too many arguments\n\n{HELP}"),
    };
    let known = targets()?;
    let chosen = match target {
        Some(target) if known.iter().any(|it| it == target) => vec![target.to_owned()],
        Some(target) => bail!("no target {target:?}, but these: {}", known.join(", ")),
        None => known,
    };
    let binaries = build()?;
    for target in chosen {
        let corpus = output().join("corpus").join(&target);
        fs::create_dir_all(&corpus)
            .with_context(|| format!("cannot create {}", corpus.display()))?;
        let mut fuzzer = Command::new(binaries.join(&target));
        let artifacts = output().join(format!("{target}-"));
        fuzzer.arg(format!("-artifact_prefix={}", artifacts.display()));
        if what.parse::<u32>().is_ok() {
            fuzzer.args([&format!("-max_total_time={what}"), "-print_final_stats=1"]);
            fuzzer.arg(corpus);
        } else {
            fuzzer.arg(what);
        }
        println!("xtask: fuzzing {target}");
        run(&mut fuzzer)?;
    }
    Ok(())
}

fn output() -> PathBuf {
    root().join("target/fuzz")
}

/// By their files' names.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .and_then(|name| Some(name.to_str()?.to_owned())),
        );
    }
    names.sort();
    Ok(names)
}

/// Builds all of them, and says where they are.
fn build() -> Result<PathBuf> {
    let host = host()?;
    let folder = output();
    run(Command::new("cargo")
        .current_dir(root().join("fuzz"))
        // With a target, what runs while building is not counted in.
        .args(["build", "--release", "--bins", "--target", &host])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", FLAGS.join(" ")))?;
    Ok(folder.join(host).join("release"))
}
