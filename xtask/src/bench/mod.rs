//! `cargo xtask bench`: this server and its peers side by side, in one go on one machine.

mod load;
mod machine;
mod peer;
mod report;
mod server;
mod workloads;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::{cargo, step, target, toolchain};

pub(crate) const HELP: &str = "\
Usage: cargo xtask bench [--rounds N] [--seconds N] [WORKLOAD]...

Measures this server and its peers side by side, and prints tables in Markdown. Needs two cores,
taskset, and wrk. A run with any error in it ends the benchmark.

Workloads (default: all):
  hello     an answer of 14 bytes; against hyper alone and `wasmtime serve`
  outbound  one outgoing request per request, to a server on the same machine;
            against `wasmtime serve`
  spinning  other requests beside guests in endless loops: none, one for each core, ten times as many

Options:
  --rounds N   rounds, of which the medians are told [default: 5]
  --seconds N  seconds of each run [default: 4]

`wasmtime` is the program that the variable WASMTIME names, or is installed below target/ from the
crate registry, in the version of this server's Wasmtime; that takes some 20 minutes.
";

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
struct Options {
    rounds: u32,
    seconds: u32,
}

type Workload = fn(&Built, Options) -> Result<()>;

const WORKLOADS: [(&str, Workload); 3] = [
    ("hello", workloads::hello),
    ("outbound", workloads::outbound),
    ("spinning", workloads::spinning),
];

/// The programs of this repository that are measured.
struct Built {
    daemon: PathBuf,
    baseline: PathBuf,
    /// The folder of the guests.
    guests: PathBuf,
}

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (options, chosen) = parse(arguments)?;
    toolchain::require_c_compiler()?;
    toolchain::prepare()?;
    let built = build()?;
    machine::print()?;
    for (name, workload) in chosen {
        workload(&built, options).with_context(|| format!("the workload {name}"))?;
    }
    Ok(())
}

fn parse(arguments: &[&str]) -> Result<(Options, Vec<(&'static str, Workload)>)> {
    let mut options = Options {
        rounds: 5,
        seconds: 4,
    };
    let mut chosen = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u32> {
            let text = arguments
                .next()
                .with_context(|| format!("{argument} needs a number"))?;
            let number = text.parse().ok().filter(|number| *number > 0);
            number
                .with_context(|| format!("{argument} needs a number from 1, and {text:?} is none"))
        };
        match *argument {
            "--rounds" => options.rounds = number()?,
            "--seconds" => options.seconds = number()?,
            name => match WORKLOADS.iter().find(|(known, _)| *known == name) {
                Some(workload) => chosen.push(*workload),
                None => bail!("there is no workload {name:?}\n\n{HELP}"),
            },
        }
    }
    if chosen.is_empty() {
        chosen.extend(WORKLOADS);
    }
    Ok((options, chosen))
}

fn build() -> Result<Built> {
    let mut daemon = cargo();
    daemon.args([
        "build",
        "--release",
        "--bin",
        "wasmtime-unitd",
        "--bin",
        "baseline",
    ]);
    step("release build", &mut daemon)?;
    let mut guests = cargo();
    guests.args(["build", "--release", "--package", "guests", "--examples"]);
    guests.args(["--target", "wasm32-wasip2"]);
    step("guests", &mut guests)?;
    let target = target();
    Ok(Built {
        daemon: target.join("release/wasmtime-unitd"),
        baseline: target.join("release/baseline"),
        guests: target.join("wasm32-wasip2/release/examples"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_and_numbers_are_understood() {
        let (options, chosen) = parse(&["--rounds", "3", "spinning"]).unwrap();
        assert_eq!((options.rounds, options.seconds), (3, 4));
        assert_eq!(chosen.len(), 1);
        assert_eq!(parse(&[]).unwrap().1.len(), WORKLOADS.len());
        for wrong in [&["nonsense"][..], &["--rounds"], &["--rounds", "0"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn help_names_every_workload() {
        for (name, _) in WORKLOADS {
            assert!(HELP.contains(&format!("\n  {name} ")), "{name}");
        }
    }
}
