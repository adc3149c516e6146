//! `isolation`: checked as Unit checks it on Linux, so that mistakes are reported here as there. Only `rootfs`
//! has an effect, on paths.

use super::checker::{Checker, is_empty, shortened};
use super::error::ConfigError;
use super::table::{Form, Items, Member, Table, Text};
use crate::Value;

pub(super) static ISOLATION: Table = Table::new(
    "isolation",
    "Unit's isolation of processes, of which only rootfs has an effect.",
    &[&[
        Member::optional(
            "namespaces",
            &[Form::Object(&NAMESPACES)],
            "Without effect: the namespaces that Unit creates.",
        ),
        Member::optional(
            "uidmap",
            MAPPINGS,
            "Without effect: how Unit maps user ids.",
        ),
        Member::optional(
            "gidmap",
            MAPPINGS,
            "Without effect: how Unit maps group ids.",
        ),
        Member::optional(
            "rootfs",
            &[Form::String(Text::ABSOLUTE)],
            "The folder that the application's paths are below, an absolute path other than /.",
        ),
        Member::optional(
            "automount",
            &[Form::Object(&AUTOMOUNT)],
            "Without effect: what Unit mounts below rootfs.",
        ),
        Member::optional(
            "new_privs",
            Form::BOOLEAN,
            "Without effect: whether Unit's processes may gain privileges.",
        ),
        Member::optional(
            "cgroup",
            &[Form::Object(&CGROUP)],
            "Without effect: the control group of Unit's processes.",
        ),
    ]],
);

static NAMESPACES: Table = Table::new(
    "namespaces",
    "The namespaces that Unit creates, without effect.",
    &[&[
        Member::optional(
            "credential",
            Form::BOOLEAN,
            "Without effect: user namespaces.",
        ),
        Member::optional("pid", Form::BOOLEAN, "Without effect: PID namespaces."),
        Member::optional(
            "network",
            Form::BOOLEAN,
            "Without effect: network namespaces.",
        ),
        Member::optional("mount", Form::BOOLEAN, "Without effect: mount namespaces."),
        Member::optional("uname", Form::BOOLEAN, "Without effect: UTS namespaces."),
        Member::optional(
            "cgroup",
            Form::BOOLEAN,
            "Without effect: cgroup namespaces.",
        ),
    ]],
);

static AUTOMOUNT: Table = Table::new(
    "automount",
    "What Unit mounts below rootfs, without effect.",
    &[&[
        Member::optional(
            "language_deps",
            Form::BOOLEAN,
            "Without effect: what the language's runtime needs.",
        ),
        Member::optional("tmpfs", Form::BOOLEAN, "Without effect: a tmpfs."),
        Member::optional("procfs", Form::BOOLEAN, "Without effect: a procfs."),
    ]],
);

static CGROUP: Table = Table::new(
    "cgroup",
    "The control group of Unit's processes, without effect.",
    &[&[Member::required(
        "path",
        &[Form::String(
            Text::FILLED
                .at_most(LONGEST_CGROUP)
                .without(r"(?:^|/)\.\.(?:/|$)"),
        )],
        "Without effect: the control group's path.",
    )]],
);

static MAPPINGS: &[Form] = &[Form::Array(Items::of(&[Form::Object(&MAPPING)]))];

static MAPPING: Table = Table::new(
    "mapping",
    "How Unit maps a range of ids, without effect.",
    &[&[
        Member::required(
            "container",
            Form::INTEGER,
            "Without effect: the first id inside.",
        ),
        Member::required(
            "host",
            Form::INTEGER,
            "Without effect: the first id outside.",
        ),
        Member::required("size", Form::INTEGER, "Without effect: the number of ids."),
    ]],
);

/// The longest path of a cgroup, in bytes: the longest path of Linux, less `/sys/fs/cgroup/`.
const LONGEST_CGROUP: usize = 4080;

/// The `rootfs`, if there is one.
pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Option<&'a str>, ConfigError> {
    let mut rootfs = None;
    checker.members(value, &ISOLATION, |checker, name, value| match name {
        "namespaces" => checker.members(value, &NAMESPACES, |_, _, _| Ok(())),
        "automount" => checker.members(value, &AUTOMOUNT, |_, _, _| Ok(())),
        "uidmap" | "gidmap" => checker.elements(value, |checker, value| {
            if value.as_object().is_none() {
                return Err(checker.error(format!(
                    "The \"{name}\" array must contain only object values."
                )));
            }
            checker.members(value, &MAPPING, |_, _, _| Ok(()))
        }),
        "rootfs" => {
            rootfs = value.as_str();
            check_rootfs(checker, rootfs.unwrap_or_default())
        }
        "cgroup" => checker.members(value, &CGROUP, |checker, _, value| {
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
