//! `applications`: types, environment, and options without effect.

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
    for name in [
        "python",
        "php 8.3",
        "external",
        "go",
        "wasm 1",
        "wasm 0.10",
        "wasm 0.1x",
        "wasm  0.1",
        " wasm",
        "wasm-component",
        "WASM",
        "",
    ] {
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
fn a_type_may_have_a_version_as_in_unit() {
    let found = |name: &str| {
        let text = format!(r#"{{"applications":{{"a":{{"type":"{name}","module":"/c"}}}}}}"#);
        check(&text).map(|checked| checked.config.applications[0].r#type)
    };
    // Unit's modules are of version 0.1.
    for name in ["wasm", "wasm ", "wasm 0", "wasm 0.", "wasm 0.1", "wasm0.1"] {
        assert_eq!(found(name), Ok(ApplicationType::Wasm), "{name:?}");
    }
    let error = found("wasm-wasi-component 0.1").unwrap_err();
    assert_eq!(error.detail, "Required parameter \"component\" is missing.");
}

/// The examples of Unit's documentation, for the options that applications have in common.
#[test]
fn the_examples_of_units_documentation_are_accepted() {
    for (members, warnings) in [
        (
            r#""processes":16,"working_directory":"/www/apps","user":"blog","group":"blog",
               "environment":{"DJANGO_SETTINGS_MODULE":"blog.settings.prod","DB_ENGINE":"postgres"}"#,
            &["processes", "user", "group", "working_directory"][..],
        ),
        (
            r#""limits":{"timeout":10,"requests":1000}"#,
            &["limits/requests"],
        ),
        (
            r#""processes":{"max":10,"spare":5,"idle_timeout":20}"#,
            &["processes"],
        ),
        (
            r#""isolation":{"namespaces":{"cgroup":true,"credential":true,"mount":true,
               "network":true,"pid":true,"uname":true},"cgroup":{"path":"/unit/appcgroup"},
               "uidmap":[{"host":1000,"container":0,"size":1000}],
               "gidmap":[{"host":1000,"container":0,"size":1000}]}"#,
            &["isolation"],
        ),
        (
            r#""isolation":{"automount":{"language_deps":false,"procfs":false,"tmpfs":false}}"#,
            &["isolation"],
        ),
        (
            r#""isolation":{"cgroup":{"path":"production/app"}}"#,
            &["isolation"],
        ),
        (
            r#""isolation":{"rootfs":"/var/app/sandbox/","namespaces":{"credential":true}}"#,
            &["isolation"],
        ),
        (r#""isolation":{}"#, &[]),
    ] {
        let paths: Vec<_> = warnings
            .iter()
            .map(|name| format!("/applications/a/{name}"))
            .collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        warned(application(members), &paths);
    }
    // Those of both types for WebAssembly, which name no folder that the test would need.
    let checked = check(
        r#"{"applications":{
            "wasm-app":{"type":"wasm","module":"/www/webassembly/unitapp.wasm",
                "request_handler":"my_custom_request_handler","malloc_handler":"my_custom_malloc_handler",
                "free_handler":"my_custom_free_handler","access":{"filesystem":["/tmp/","/var/tmp/"]},
                "module_init_handler":"my_custom_module_init_handler",
                "module_end_handler":"my_custom_module_end_handler"},
            "wasm-wc":{"type":"wasm-wasi-component","component":"/path/to/component.wasm"}}}"#,
    );
    let Checked { config, warnings } = checked.unwrap();
    assert_eq!(warnings, []);
    let folders = &config.applications[0].access.filesystem;
    let names: Vec<_> = folders.iter().map(|folder| folder.name.as_str()).collect();
    assert_eq!(names, ["/tmp", "/var/tmp"]);
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
fn an_option_without_effect_is_a_warning() {
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
fn an_option_without_effect_is_checked_nevertheless() {
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
            r#""isolation":{"namespaces":{"pid":1}}"#,
            "isolation/namespaces/pid",
            "The \"pid\" value must be a boolean, but not an integer number.",
        ),
        (
            r#""processes":{"spare":0,"max":2147483648}"#,
            "processes/max",
            "The \"max\" number must not exceed 2147483647.",
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
fn the_path_of_a_cgroup_is_one_that_linux_accepts() {
    let cgroup = |length: usize| {
        let path = "x".repeat(length);
        application(&format!(r#""isolation":{{"cgroup":{{"path":"{path}"}}}}"#))
    };
    assert!(cgroup(4080).is_ok());
    let error = cgroup(4081).unwrap_err();
    let (start, end) = ("The cgroup path \"xxx", "… is too long.");
    assert!(error.detail.starts_with(start), "{error}");
    assert!(error.detail.ends_with(&end.replace('…', "…\"")), "{error}");
}

#[test]
fn the_authority_is_the_server_name_or_the_host() {
    let authority = |value: &str| {
        let checked = application(&format!(r#""authority":{value}"#));
        checked.map(|checked| checked.config.applications[0].authority)
    };
    assert_eq!(authority(r#""host""#).unwrap(), Some(Authority::Host));
    let server_name = authority(r#""server-name""#).unwrap();
    assert_eq!(server_name, Some(Authority::ServerName));
    assert_eq!(
        application("").unwrap().config.applications[0].authority,
        None
    );
    for (value, suggestion) in [
        ("server_name", Some("server-name")),
        ("hots", Some("host")),
        ("Host:80", None),
        ("", None),
    ] {
        let error = authority(&format!("{value:?}")).unwrap_err();
        let expected = format!(
            "The \"authority\" value must be \"server-name\" or \"host\", but not \"{value}\"."
        );
        assert_eq!(error.detail, expected);
        assert_eq!(error.path.to_string(), "/applications/a/authority");
        assert_eq!(error.suggestion, suggestion);
    }
    assert!(authority("true").is_err());
    let long = authority(&format!("{:?}", "x".repeat(100_000))).unwrap_err();
    assert!(long.detail.len() < 300);
}

#[test]
fn an_unknown_name_in_an_option_without_effect_is_reported_nevertheless() {
    for (members, unknown, suggestion) in [
        (
            r#""isolation":{"namespaces":{"credentials":true}}"#,
            "credentials",
            Some("credential"),
        ),
        (r#""isolation":{"rootf":"/a"}"#, "rootf", Some("rootfs")),
        (r#""processes":{"mx":1}"#, "mx", Some("max")),
        (r#""limits":{"timeuot":1}"#, "timeuot", Some("timeout")),
        (r#""targets":{}"#, "targets", None),
    ] {
        let error = application(members).unwrap_err();
        assert_eq!(error.detail, format!("Unknown parameter \"{unknown}\"."));
        assert_eq!(error.suggestion, suggestion);
    }
}
