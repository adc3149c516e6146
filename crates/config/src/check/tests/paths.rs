//! Paths of applications under `working_directory` and `rootfs`.

use std::path::PathBuf;

use super::*;

#[test]
fn stdout_and_stderr_are_files_with_absolute_paths() {
    let checked = application(r#""stdout":"/o","stderr":"/e""#).unwrap();
    assert_eq!(checked.warnings, []);
    let found = &checked.config.applications[0];
    assert_eq!(found.stdout.as_deref(), Some("/o".as_ref()));
    assert_eq!(found.stderr.as_deref(), Some("/e".as_ref()));
    for name in ["stdout", "stderr"] {
        let relative = format!(r#""{name}":"log/out""#);
        refused(
            application(&relative),
            &format!("/applications/a/{name}"),
            &format!(
                "The \"{name}\" path must be absolute, or relative to a \"working_directory\" that is."
            ),
        );
        let below = format!(r#"{relative},"working_directory":"/srv""#);
        let checked = application(&below).unwrap();
        let found = &checked.config.applications[0];
        let path = found.stdout.as_deref().or(found.stderr.as_deref());
        assert_eq!(path, Some("/srv/log/out".as_ref()));
        assert_eq!(checked.warnings, []);
    }
}

/// As in Unit, where the root is changed before the application's paths are opened.
#[test]
fn an_applications_paths_begin_at_its_root() {
    let found = |members: &str| {
        let text = format!(
            r#"{{"applications":{{"a":{{"type":"wasm",{members},"isolation":{{"rootfs":"/jail/"}}}}}}}}"#
        );
        let Checked { config, warnings } = check(&text).unwrap();
        let paths: Vec<_> = warnings.iter().map(|it| it.path.to_string()).collect();
        assert_eq!(paths, ["/applications/a/isolation"]);
        assert!(warnings[0].to_string().contains("rootfs"), "{warnings:?}");
        config.applications.into_iter().next().unwrap()
    };
    let application = found(
        r#""module":"/srv/../../c.wasm","stdout":"out","stderr":"/err","working_directory":"/log",
           "access":{"filesystem":["/data",{"path":"/../secret","as":"/s"}]}"#,
    );
    assert_eq!(application.component, PathBuf::from("/jail/c.wasm"));
    assert_eq!(application.stdout, Some("/jail/log/out".into()));
    assert_eq!(application.stderr, Some("/jail/err".into()));
    let folders = application.access.filesystem.iter();
    let folders: Vec<_> = folders
        .map(|it| (it.name.as_str(), it.path.to_str().unwrap()))
        .collect();
    // Guests see them under their names within the root.
    assert_eq!(folders, [("/data", "/jail/data"), ("/s", "/jail/secret")]);
    // The working folder is the new root.
    assert_eq!(
        found(r#""module":"c.wasm""#).component,
        PathBuf::from("/jail/c.wasm")
    );
}

#[test]
fn a_relative_component_is_relative_to_an_absolute_working_directory() {
    let with = |component: &str, directory: &str| {
        check(&format!(
            r#"{{"applications":{{"a":{{"type":"wasm","module":"{component}"{directory}}}}}}}"#
        ))
    };
    let checked = with("c.wasm", r#","working_directory":"/srv""#).unwrap();
    assert_eq!(
        checked.config.applications[0].component,
        PathBuf::from("/srv/c.wasm")
    );
    // Here the member has an effect.
    assert_eq!(checked.warnings, []);
    for directory in ["", r#","working_directory":"srv""#] {
        refused(
            with("c.wasm", directory),
            "/applications/a/module",
            "The \"module\" path must be absolute, or relative to a \"working_directory\" that is.",
        );
    }
    refused(
        with("", ""),
        "/applications/a/module",
        "The \"module\" value must not be empty.",
    );
}
