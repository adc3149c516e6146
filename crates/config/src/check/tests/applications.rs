use std::path::PathBuf;

use super::*;

#[test]
fn the_newer_type_needs_a_component_only() {
    let config = application("").unwrap().config;
    let expected = Application::new("a", "/c.wasm");
    assert_eq!(config.applications, [expected]);
    refused(
        check(r#"{"applications":{"a":{"type":"wasm-wasi-component"}}}"#),
        "/applications/a/component",
        "Required parameter \"component\" is missing.",
    );
    refused(
        check(r#"{"applications":{"a":{"type":"wasm"}}}"#),
        "/applications/a/module",
        "Required parameter \"module\" is missing.",
    );
}

#[test]
fn an_equal_application_is_recognised_across_configurations() {
    let first = application(r#""environment":{"A":"1"}"#).unwrap().config;
    assert_eq!(
        application(r#""environment":{"A":"1"},"user":"u""#)
            .unwrap()
            .config,
        first
    );
    assert_ne!(
        application(r#""environment":{"A":"2"}"#).unwrap().config,
        first
    );
    assert_ne!(
        application(r#""limits":{"timeout":1}"#).unwrap().config,
        first
    );
}

#[test]
fn other_types_are_not_available() {
    for name in ["python", "wasm 1", "WASM", ""] {
        refused(
            check(&format!(
                r#"{{"applications":{{"a":{{"type":"{name}"}}}}}}"#
            )),
            "/applications/a/type",
            &format!(
                "The module to run \"{name}\" is not found among the available application modules."
            ),
        );
    }
    refused(
        check(r#"{"applications":{"a":{}}}"#),
        "/applications/a/type",
        "Application must have the \"type\" property set.",
    );
}

#[test]
fn an_environment_is_an_object_of_strings() {
    let config = application(r#""environment":{"B":"2","A":"","É":"="}"#)
        .unwrap()
        .config;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [pair("B", "2"), pair("A", ""), pair("É", "=")];
    assert_eq!(config.applications[0].environment, expected);
    for (members, path, detail) in [
        (r#""":"x""#, "", "The environment name must not be empty."),
        (
            r#""A=":"x""#,
            "A=",
            "The environment name must not contain '=' character.",
        ),
        (
            r#""A\u0000":"x""#,
            "A\0",
            "The environment name must not contain null character.",
        ),
        (
            r#""A":1"#,
            "A",
            "The \"A\" environment value must be a string.",
        ),
        (
            r#""A":"\u0000""#,
            "A",
            "The \"A\" environment value must not contain null character.",
        ),
    ] {
        refused(
            application(&format!(r#""environment":{{{members}}}"#)),
            &format!("/applications/a/environment/{path}"),
            detail,
        );
    }
}

#[test]
fn an_option_in_the_modules_form_is_only_a_variable() {
    warned(
        application(r#""environment":{"NXT_WASMTIME_MEMORY":"65536","NXT":"1"}"#),
        &["/applications/a/environment/NXT_WASMTIME_MEMORY"],
    );
}

#[test]
fn output_goes_to_files_of_absolute_paths() {
    let checked = application(r#""stdout":"/o","stderr":"/e""#).unwrap();
    assert_eq!(checked.warnings, []);
    let found = &checked.config.applications[0];
    assert_eq!(found.stdout.as_deref(), Some("/o".as_ref()));
    assert_eq!(found.stderr.as_deref(), Some("/e".as_ref()));
    for name in ["stdout", "stderr"] {
        refused(
            application(&format!(r#""{name}":"log/out""#)),
            &format!("/applications/a/{name}"),
            &format!("The \"{name}\" path must be absolute."),
        );
    }
}

#[test]
fn what_has_no_effect_is_warned_of() {
    warned(
        application(
            r#""limits":{"requests":1,"shm":2,"timeout":3},"processes":2,"user":"u","group":"g",
               "working_directory":"/w","isolation":{"namespaces":{"pid":true}}"#,
        ),
        &[
            "/applications/a/limits/requests",
            "/applications/a/limits/shm",
            "/applications/a/processes",
            "/applications/a/user",
            "/applications/a/group",
            "/applications/a/isolation",
            "/applications/a/working_directory",
        ],
    );
    let warning = application(r#""processes":2"#).unwrap().warnings.remove(0);
    assert_eq!(
        warning.to_string(),
        "/applications/a/processes: one process serves all applications, so this has no effect",
    );
}

#[test]
fn what_has_no_effect_is_checked_all_the_same() {
    for (members, path, detail) in [
        (
            r#""processes":0"#,
            "processes",
            "The \"processes\" number must be equal to or greater than 1.",
        ),
        (
            r#""processes":{"spare":2}"#,
            "processes/spare",
            "The \"spare\" number must be less than or equal to \"max\".",
        ),
        (
            r#""processes":{"max":0}"#,
            "processes/max",
            "The \"max\" number must be equal to or greater than 1.",
        ),
        (
            r#""processes":{"idle_timeout":-1}"#,
            "processes/idle_timeout",
            "The \"idle_timeout\" number must not be negative.",
        ),
        (
            r#""user":"""#,
            "user",
            "The \"user\" value must not be empty.",
        ),
        (
            r#""stdout":"a\u0000b""#,
            "stdout",
            "The \"stdout\" value must not contain null character.",
        ),
        (
            r#""isolation":{"pid":true}"#,
            "isolation",
            "Unknown parameter \"pid\".",
        ),
        (
            r#""isolation":{"uidmap":[{"container":0,"host":0}]}"#,
            "isolation/uidmap/0/size",
            "Required parameter \"size\" is missing.",
        ),
        (
            r#""isolation":{"gidmap":[1]}"#,
            "isolation/gidmap/0",
            "The \"gidmap\" array must contain only object values.",
        ),
        (
            r#""isolation":{"rootfs":"/a/.."}"#,
            "isolation/rootfs",
            "The \"rootfs\" path \"/a/..\" is invalid; it resolves to \"/\".",
        ),
        (
            r#""isolation":{"cgroup":{"path":"../x"}}"#,
            "isolation/cgroup/path",
            "The cgroup path \"../x\" is invalid.",
        ),
    ] {
        refused(
            application(members),
            &format!("/applications/a/{path}"),
            detail,
        );
    }
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

#[test]
fn what_later_versions_will_know_is_refused_by_name() {
    let unsupported =
        |name: &str| format!("The \"{name}\" option is not supported by this version.");
    for (text, path, name) in [
        (
            r#"{"settings":{"http":{"compression":{"types":"*"}}}}"#,
            "/settings/http/compression",
            "compression",
        ),
        (
            r#"{"settings":{"telemetry":{"batch_size":1}}}"#,
            "/settings/telemetry",
            "telemetry",
        ),
    ] {
        refused(check(text), path, &unsupported(name));
    }
}
