//! `cargo xtask bench`: this server and its peers side by side, in one run on one machine.

mod built;
mod load;
mod machine;
mod paced;
mod peer;
mod report;
mod unit;
mod workloads;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use self::built::{Built, Options, Unit};
use self::workloads::ALL;
use crate::command::{root, target};
use crate::unit::Tree;
use crate::{guests, release, toolchain};

pub(crate) fn help() -> String {
    let beside = workloads::BESIDE.join(", ");
    let mut workloads = String::new();
    for (name, line, _) in ALL {
        workloads.push_str(&format!("  {name:<14}{line}\n"));
    }
    format!(
        "\
Usage: cargo xtask bench [--rounds N] [--seconds N] [--plots DIRECTORY] [--profile]
                         [--before PROGRAM] [WORKLOAD]...

Measures this server and its peers side by side, and prints tables in Markdown; they are also in
bench/results.md in the target folder, with a plot of each. Needs two cores, taskset, and wrk. The
server is on one core, and all else on the other. A run with any error in it ends the workload. Each
server answers for a second before it counts.

Workloads (default: all):
{workloads}
Options:
  --rounds N         rounds, of which the medians are reported [default: 5]
  --seconds N        seconds of each run [default: 4]; `latency` has as many more rounds of one second
  --plots DIRECTORY  put the plots there, too
  --before PROGRAM   another build of `wasmtime-unitd`, such as one before a change: measured beside this
                     one in {beside}
  --profile          measure what `cargo xtask release` builds (with a profile), the programs
                     without limits and logs likewise; otherwise what `cargo build --release` does

`wasmtime` is the program that the variable WASMTIME names, or is installed below target/ from the
crate registry, in the version of this server's Wasmtime; that takes some 20 minutes. unitd is
measured where there is a built tree of NGINX Unit, which UNIT_SRC may name.
"
    )
}

/// What the arguments ask for.
struct Chosen {
    options: Options,
    workloads: Vec<&'static str>,
    with_profile: bool,
    plots: Option<PathBuf>,
    before: Option<PathBuf>,
}

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let chosen = parse(arguments)?;
    toolchain::require_c_compiler()?;
    toolchain::prepare()?;
    let built = build(chosen.with_profile, chosen.before)?;
    let results = target().join("bench");
    fs::create_dir_all(&results).with_context(|| results.display().to_string())?;
    let mut text = format!("{}\n", machine::describe()?);
    println!("\n{text}");
    let mut failed = Vec::new();
    let begun = Instant::now();
    let run = ALL
        .iter()
        .filter(|(name, ..)| chosen.workloads.contains(name));
    for (name, _, workload) in run {
        match workload(&built, chosen.options) {
            Ok(findings) => {
                let mut section = format!("\n## {name}\n\n```\ncargo xtask bench {name}\n```\n\n");
                for (number, report) in (1..).zip(&findings.reports) {
                    section.push_str(&format!("{report}\n"));
                    let file = if number == 1 {
                        format!("{name}.svg")
                    } else {
                        format!("{name}-{number}.svg")
                    };
                    for folder in chosen.plots.iter().chain([&results]) {
                        let path = folder.join(&file);
                        fs::write(&path, report.plot())
                            .with_context(|| path.display().to_string())?;
                    }
                }
                section.push_str(&findings.remarks.join("\n"));
                section.push('\n');
                println!("{section}");
                text.push_str(&section);
            }
            // The others may still say something.
            Err(error) => {
                eprintln!("xtask: {name}: {error:#}");
                failed.push(*name);
            }
        }
    }
    let path = results.join("results.md");
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    println!(
        "xtask: measured in {} seconds; see {}",
        begun.elapsed().as_secs(),
        path.display()
    );
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}

fn parse(arguments: &[&str]) -> Result<Chosen> {
    let mut chosen = Chosen {
        options: Options {
            rounds: 5,
            seconds: 4,
        },
        workloads: Vec::new(),
        with_profile: false,
        plots: None,
        before: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = |what| {
            let value = arguments.next();
            value.with_context(|| format!("{argument} needs {what}"))
        };
        let number = |text: &str| -> Result<u32> {
            let number = text.parse().ok().filter(|number| *number > 0);
            number.with_context(|| format!("{argument} needs a number of at least 1, not {text:?}"))
        };
        match *argument {
            "--rounds" => chosen.options.rounds = number(value("a number")?)?,
            "--seconds" => chosen.options.seconds = number(value("a number")?)?,
            "--profile" => chosen.with_profile = true,
            "--plots" => {
                let folder = root().join(value("a directory")?);
                if !folder.is_dir() {
                    bail!("{} is not a directory", folder.display());
                }
                chosen.plots = Some(folder);
            }
            "--before" => {
                let program = root().join(value("a program")?);
                if !program.is_file() {
                    bail!("there is no program {}", program.display());
                }
                chosen.before = Some(program);
            }
            name => match ALL.iter().find(|(known, ..)| *known == name) {
                Some((known, ..)) => chosen.workloads.push(known),
                None => bail!("there is no workload {name:?}\n\n{}", help()),
            },
        }
    }
    if chosen.workloads.is_empty() {
        chosen.workloads.extend(ALL.iter().map(|(name, ..)| *name));
    }
    Ok(chosen)
}

fn build(with_profile: bool, before: Option<PathBuf>) -> Result<Built> {
    let [guests, guests_03] = guests::build()?;
    let profile = if with_profile {
        release::profile()?
    } else {
        None
    };
    let release = release::build(&["wasmtime-unitd", "baseline"], profile.as_ref())?;
    let unit = match Tree::find()? {
        Some(tree) => Some(Unit::new(tree.path(), tree.release(profile.as_ref())?)),
        None => {
            println!("xtask: not measured: unitd ({})", crate::unit::MISSING);
            None
        }
    };
    Ok(Built {
        daemon: release.join("wasmtime-unitd"),
        before,
        baseline: release.join("baseline"),
        guests,
        guests_03,
        unit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_and_numbers_are_understood() {
        let chosen = parse(&["--rounds", "3", "--profile", "spinning"]).unwrap();
        assert!(chosen.with_profile);
        assert_eq!((chosen.options.rounds, chosen.options.seconds), (3, 4));
        assert_eq!(chosen.workloads, ["spinning"]);
        assert_eq!(parse(&[]).unwrap().workloads.len(), ALL.len());
        let wrong: [&[&str]; 6] = [
            &["--before", "target/none"],
            &["nonsense"],
            &["--rounds"],
            &["--rounds", "0"],
            &["--plots"],
            &["--plots", "Cargo.toml"],
        ];
        for wrong in wrong {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
