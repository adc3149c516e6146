//! `isolation`: checked as Unit checks it on Linux, so that mistakes are reported here as there. Only `rootfs`
//! has an effect, on paths.

use super::error::ConfigError;
use super::schema::{Checker, Kinds, Member, is_empty, shortened};
use crate::Value;

const ISOLATION: &[Member] = &[
    Member::optional("namespaces", Kinds::OBJECT),
    Member::optional("uidmap", Kinds::ARRAY),
    Member::optional("gidmap", Kinds::ARRAY),
    Member::optional("rootfs", Kinds::STRING),
    Member::optional("automount", Kinds::OBJECT),
    Member::optional("new_privs", Kinds::BOOLEAN),
    Member::optional("cgroup", Kinds::OBJECT),
];

const NAMESPACES: &[Member] = &[
    Member::optional("credential", Kinds::BOOLEAN),
    Member::optional("pid", Kinds::BOOLEAN),
    Member::optional("network", Kinds::BOOLEAN),
    Member::optional("mount", Kinds::BOOLEAN),
    Member::optional("uname", Kinds::BOOLEAN),
    Member::optional("cgroup", Kinds::BOOLEAN),
];

const AUTOMOUNT: &[Member] = &[
    Member::optional("language_deps", Kinds::BOOLEAN),
    Member::optional("tmpfs", Kinds::BOOLEAN),
    Member::optional("procfs", Kinds::BOOLEAN),
];

const CGROUP: &[Member] = &[Member::required("path", Kinds::STRING)];

const MAPPING: &[Member] = &[
    Member::required("container", Kinds::INTEGER),
    Member::required("host", Kinds::INTEGER),
    Member::required("size", Kinds::INTEGER),
];

/// The longest path of a cgroup, in bytes: the longest path of Linux, less `/sys/fs/cgroup/`.
const LONGEST_CGROUP: usize = 4080;

/// The `rootfs`, if there is one.
pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Option<&'a str>, ConfigError> {
    let mut rootfs = None;
    checker.members(value, &[ISOLATION], |checker, name, value| match name {
        "namespaces" => checker.members(value, &[NAMESPACES], |_, _, _| Ok(())),
        "automount" => checker.members(value, &[AUTOMOUNT], |_, _, _| Ok(())),
        "uidmap" | "gidmap" => checker.elements(value, |checker, value| {
            if value.as_object().is_none() {
                return Err(checker.error(format!(
                    "The \"{name}\" array must contain only object values."
                )));
            }
            checker.members(value, &[MAPPING], |_, _, _| Ok(()))
        }),
        "rootfs" => {
            rootfs = value.as_str();
            check_rootfs(checker, rootfs.unwrap_or_default())
        }
        "cgroup" => checker.members(value, &[CGROUP], |checker, _, value| {
            check_cgroup(checker, value.as_str().unwrap_or_default())
        }),
        _ => Ok(()),
    })?;
    if rootfs.is_some() {
        checker.warn(
            "one process serves all applications and each request is isolated in an instance, so this \
             has no effect, except that the application's paths begin at \"rootfs\"",
        );
    } else if !is_empty(value) {
        checker.warn(
            "one process serves all applications and each request is isolated in an instance, so this \
             has no effect",
        );
    }
    Ok(rootfs)
}

fn check_rootfs(checker: &Checker<'_>, path: &str) -> Result<(), ConfigError> {
    let wrong =
        if !path.starts_with('/') || path.contains('\0') || path.trim_matches('/').is_empty() {
            "an absolute path other than \"/\" is required"
        } else if depth(path) == 0 {
            "it resolves to \"/\""
        } else {
            return Ok(());
        };
    Err(checker.error(format!(
        "The \"rootfs\" path \"{path}\" is invalid; {wrong}."
    )))
}

fn check_cgroup(checker: &Checker<'_>, path: &str) -> Result<(), ConfigError> {
    if path.len() > LONGEST_CGROUP {
        let path = shortened(path);
        return Err(checker.error(format!("The cgroup path \"{path}\" is too long.")));
    }
    let invalid =
        path.is_empty() || path.contains('\0') || path.split('/').any(|segment| segment == "..");
    if invalid {
        return Err(checker.error(format!("The cgroup path \"{path}\" is invalid.")));
    }
    Ok(())
}

/// How far below the root a path leads.
fn depth(path: &str) -> usize {
    path.split('/').fold(0, |depth, segment| match segment {
        "" | "." => depth,
        ".." => depth.saturating_sub(1),
        _ => depth + 1,
    })
}
