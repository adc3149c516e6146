//! The man pages and the completions of shells, made of the declaration of the command line.
//!
//! Only in builds for tests, so that the server does not carry what makes them. The test leaves them in the folder
//! that `MANUAL_FOLDER` names, if it is set: `cargo xtask package manual` makes them in this way.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::arguments::Arguments;

const PROGRAM: &str = "wasmtime-unitd";

/// System administration commands and daemons.
const SECTION: &str = "8";

/// Writes a page for the program, and one for each of its commands.
fn write_pages(folder: &Path) {
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    let version = program.get_version().unwrap_or_default().to_owned();
    let commands: Vec<Command> = program.get_subcommands().cloned().collect();
    for command in commands.into_iter().chain([program]) {
        let page = Man::new(command)
            .section(SECTION)
            .source(format!("{PROGRAM} {version}"))
            .manual("System Administration");
        page.generate_to(folder).unwrap();
    }
}

/// Writes the completions of each shell, under the names by which the shells look for them.
fn write_completions(folder: &Path) {
    for (shell, name) in [
        (Shell::Bash, PROGRAM.to_owned()),
        (Shell::Zsh, format!("_{PROGRAM}")),
        (Shell::Fish, format!("{PROGRAM}.fish")),
    ] {
        let folder = folder.join(shell.to_string());
        fs::create_dir_all(&folder).unwrap();
        let mut file = fs::File::create(folder.join(name)).unwrap();
        clap_complete::generate(shell, &mut Arguments::command(), PROGRAM, &mut file);
    }
}

/// The long names of the flags of a command.
fn flags(command: &Command) -> Vec<String> {
    let arguments = command.get_arguments();
    let flags = arguments.filter_map(|argument| argument.get_long());
    flags.map(str::to_owned).collect()
}

#[test]
fn man_pages_and_completions_have_every_flag() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("MANUAL_FOLDER");
    let folder = folder.map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    fs::create_dir_all(&folder).unwrap();
    write_pages(&folder);
    write_completions(&folder);

    let program = Arguments::command();
    let commands = program.get_subcommands();
    let pages = commands.map(|command| (format!("{PROGRAM}-{}", command.get_name()), command));
    let pages = pages.chain([(PROGRAM.to_owned(), &program)]);
    let bash = fs::read_to_string(folder.join("bash").join(PROGRAM)).unwrap();
    for (name, command) in pages {
        let page = fs::read_to_string(folder.join(format!("{name}.{SECTION}"))).unwrap();
        for flag in flags(command) {
            let in_roff = format!(r"\-\-{}", flag.replace('-', r"\-"));
            assert!(page.contains(&in_roff), "{name}: {flag}");
            assert!(bash.contains(&format!("--{flag}")), "{name}: {flag}");
        }
    }
    for file in ["zsh/_wasmtime-unitd", "fish/wasmtime-unitd.fish"] {
        let completions = fs::read_to_string(folder.join(file)).unwrap();
        assert!(completions.contains("shutdown-timeout"), "{file}");
    }
}
