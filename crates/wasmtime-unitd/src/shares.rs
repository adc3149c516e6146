//! Warns of shares that expose the server's own files to clients.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf, absolute};

use config::{Config, Warning};

use crate::folders::{GuardedFolders, resolved};

/// A warning for each share of `config` that may serve the server's own files: private keys, the configuration,
/// compiled code. Not an error, since Unit allows it, too.
///
/// Checked is the part of a path before its first variable, with symlinks resolved. Symlinks below it are not followed.
pub(crate) fn warnings(config: &Config, guarded: &GuardedFolders) -> Vec<Warning> {
    let warn = |share: &config::Share| {
        let reached = |own: &[PathBuf]| {
            let mut own = own.iter().map(|own| resolved(own));
            own.find(|own| {
                share
                    .paths
                    .iter()
                    .any(|it| reaches(&it.constant_prefix(), own))
            })
        };
        let (what, own) = match reached(&guarded.secret) {
            Some(own) => ("the private keys", own),
            None => ("the server's own files", reached(&guarded.trusted)?),
        };
        Some(Warning {
            path: share.at.clone(),
            reason: format!("clients can read {what} in {}", own.display()).into(),
        })
    };
    config.shares().filter_map(warn).collect()
}

/// Whether a path that begins with `beginning` may be `own` or below it.
fn reaches(beginning: &[u8], own: &Path) -> bool {
    // The path begins with a variable.
    if beginning.is_empty() {
        return true;
    }
    let Ok(beginning) = absolute(Path::new(OsStr::from_bytes(beginning))) else {
        return false;
    };
    // `absolute` keeps a slash at the end, after which any name may follow.
    let mut text = beginning.into_os_string().into_vec();
    let name = match text.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => text.split_off(slash + 1),
        None => Vec::new(),
    };
    let folder = resolved(Path::new(OsStr::from_bytes(&text)));
    let whole = resolved(&folder.join(OsStr::from_bytes(&name)));
    let next = own.strip_prefix(&folder).ok();
    let next = next.and_then(|below| below.components().next());
    let is_above = own.starts_with(&folder)
        && next.is_none_or(|next| next.as_os_str().as_bytes().starts_with(&name));
    is_above || whole.starts_with(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_judged_by_the_beginning_of_its_path() {
        let own = Path::new("/nowhere/state");
        for (beginning, expected) in [
            ("/", true),
            ("/nowhere/", true),
            ("/nowhere", true),
            ("/nowhere/st", true),
            ("/nowhere/state/", true),
            ("/nowhere/state/conf.json", true),
            ("/nowhere/./state//certs/a", true),
            ("/nowhere/www/", false),
            ("/nowhere/state2/", false),
            ("/nowhere/states", false),
            ("/elsewhere/", false),
            ("", true),
        ] {
            assert_eq!(reaches(beginning.as_bytes(), own), expected, "{beginning}");
        }
    }
}
