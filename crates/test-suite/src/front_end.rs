use std::path::Path;
use std::process::Command;

/// A server that serves components by Unit's configuration.
pub trait FrontEnd {
    /// The command that runs it in the foreground, with all that it writes in `directory`: the
    /// control socket is `control.sock`, the log `unit.log`, and what it keeps over a restart is
    /// somewhere below.
    fn command(&self, directory: &Path) -> Command;
}
