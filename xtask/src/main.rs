//! `cargo xtask …`: the recipes that people and CI run, set-up included.

mod answer;
mod bench;
mod checkout;
mod checks;
mod command;
mod containers;
mod debug_symbols;
mod demo;
mod dependencies;
mod fuzz;
mod guests;
mod operations;
mod package;
mod publish;
mod release;
mod server;
mod test;
mod test_daemon;
mod toolchain;
mod toolchains;
mod tools;
mod unit;

use std::path::Path;
use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask COMMAND

Commands:
  demo    Build the example component and the daemon, serve the one with the other on
          127.0.0.1:8080, and stay until Ctrl-C
  test    Run all that CI runs: formatting, clippy, tests, documentation; with a built tree of
          NGINX Unit, which UNIT_SRC may name, the module for it too
  check   Check rules that the compiler does not: imports in a circle, types of one crate that share a name,
          prose, figures that stand on two pages, dead links, subjects of commits
  dependencies
          Check the rules of deny.toml for dependencies: licences, sources, versions
  toolchains
          Make components with other tool chains, which are installed below target/, and serve them
  schema  Compare the JSON Schema of the configuration with the check, by a validator that is installed
          below target/
  operations
          Test what docs/operations.md promises, with the tools that operators use; they are installed below
          target/ where they can be
  release Make a release: test, build with fat LTO and a profile, pack, write check sums, sign them, and draft
          the notes; `cargo xtask release --help` says more
  package Make a Debian package, a static program, a container image, or man pages and completions;
          `cargo xtask package --help` says more
  fuzz    Run libFuzzer on the parsers of outside input; `cargo xtask fuzz --help` says more
  bench   Measure the server and its peers side by side; `cargo xtask bench --help` says what
  help    Print this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["demo"] => demo::run(),
        ["test"] => test::run(),
        ["bench", "--help" | "-h"] => {
            print!("{}", bench::help());
            Ok(())
        }
        ["check"] => checks::run(),
        ["dependencies"] => dependencies::check().map(drop),
        ["fuzz", "--help" | "-h"] => {
            print!("{}", fuzz::HELP);
            Ok(())
        }
        ["fuzz", ref arguments @ ..] => fuzz::command(arguments),
        ["package", "--help" | "-h"] => {
            print!("{}", package::HELP);
            Ok(())
        }
        ["package", ref arguments @ ..] => package::run(arguments),
        ["release", "--help" | "-h"] => {
            print!("{}", publish::HELP);
            Ok(())
        }
        ["release", ref arguments @ ..] => publish::run(arguments),
        ["bench", ref arguments @ ..] => bench::run(arguments),
        ["toolchains"] => toolchains::run().map(drop),
        ["operations"] => operations::run().map(|skipped| {
            for skipped in skipped {
                println!("xtask: skipped: {skipped}");
            }
        }),
        // As the test of certbot calls it, in namespaces.
        ["operations", "renewal", folder] => operations::renewal::run(Path::new(folder)),
        ["schema"] => toolchains::schema::run(None).map(drop),
        ["help" | "--help" | "-h"] | [] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprintln!(
                "xtask: unknown arguments: {}\n\n{HELP}",
                arguments.join(" ")
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
