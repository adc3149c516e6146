//! `wasmtime-unitd`: serves WebAssembly HTTP components, with NGINX Unit's control API and
//! configuration.
//!
//! This crate puts the pieces together: flags, log, privileges, then `engine` and `server` as one
//! [`runtime::Runtime`], which `control` drives. It neither parses HTTP nor runs guests.

mod addresses;
mod arguments;
mod as_unitd;
mod check;
mod compile;
mod components;
mod config_source;
mod control_address;
mod control_exposure;
mod control_socket;
mod daemon;
mod folders;
mod hang_up;
mod health_socket;
mod idle_memory;
mod inherited_sockets;
mod initial_config;
mod kept;
mod log;
#[cfg(test)]
mod manual;
mod open_files;
mod privileges;
mod reload;
mod routes;
mod runtime;
mod schema;
mod serve;
mod service_manager;
mod settled;
mod shares;
mod shutdown;
mod tls;
mod upstreams;
mod workers;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};
use inherited_sockets::InheritedSockets;

#[global_allocator]
static ALLOCATOR: allocator::MiMalloc = allocator::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = as_unitd::start() {
        return code;
    }
    let arguments = Arguments::parse();
    // First of all, while there is one thread.
    let inherited = InheritedSockets::take();
    let result = match &arguments.command {
        None => inherited.and_then(|inherited| daemon::run(&arguments, inherited)),
        Some(Command::Serve(serve)) => inherited.and_then(|inherited| serve::run(serve, inherited)),
        Some(Command::Check(check)) => check::run(check),
        Some(Command::Compile(compile)) => compile::run(compile),
        Some(Command::Schema) => schema::run(),
    };
    result.unwrap_or_else(|error| {
        log::print_fatal(&error);
        ExitCode::FAILURE
    })
}
