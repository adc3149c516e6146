//! Shares that let clients at the server's own files.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf, absolute};

use config::{Config, Warning};

use crate::folders::{Guarded, resolved};

/// A warning for each share of `config` whose files may be the server's own: private keys, the
/// configuration, compiled code. As in Unit, an operator may want that.
///
/// What is in front of a path's first variable is looked at, with its links resolved; what links within
/// lead to is not.
pub(crate) fn warnings(config: &Config, guarded: &Guarded) -> Vec<Warning> {
    let warn = |share: &config::Share| {
        let reached = |own: &[PathBuf]| {
            let mut own = own.iter().map(|own| resolved(own));
            own.find(|own| share.paths.iter().any(|it| reaches(&it.beginning(), own)))
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

/// Whether a path that begins like this may be one in `own`.
fn reaches(beginning: &[u8], own: &Path) -> bool {
    // All of it comes out of variables.
    if beginning.is_empty() {
        return true;
    }
    let Ok(beginning) = absolute(Path::new(OsStr::from_bytes(beginning))) else {
        return false;
    };
    // `absolute` keeps the slash at the end, behind which all names may follow.
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
    fn what_a_path_begins_with_decides() {
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
