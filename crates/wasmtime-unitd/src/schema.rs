//! `wasmtime-unitd schema`: prints the JSON Schema of the configuration.

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

pub(crate) fn run() -> Result<ExitCode> {
    // The control API's line breaks are unusual in a file.
    let schema = config::print_pretty(&config::json_schema()).replace("\r\n", "\n");
    match writeln!(io::stdout().lock(), "{schema}") {
        // The reader, such as `head`, has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.context("cannot write to standard output")?,
    }
    Ok(ExitCode::SUCCESS)
}
