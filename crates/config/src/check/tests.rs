use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::parse;

const WALKTHROUGH: &str = r#"{
      "listeners": {
          "127.0.0.1:8080": {
              "pass": "applications/wasm"
          }
      },

      "applications": {
          "wasm": {
              "type": "wasm",
              "module": "/path/to/example.component.wasm",
              "request_handler": "<unused>",
              "malloc_handler": "<unused>",
              "free_handler": "<unused>",
          }
      }
  }"#;

fn check(text: &str) -> Result<Checked, ConfigError> {
    Config::check(&parse(text.as_bytes()).unwrap())
}

/// One application of the newer type with these further members.
fn application(members: &str) -> Result<Checked, ConfigError> {
    check(&format!(
        r#"{{"applications":{{"a":{{"type":"wasm-wasi-component","component":"/c.wasm",{members}}}}}}}"#
    ))
}

/// One listener with these members, and an application `a/b` to pass to.
fn listener(address: &str, members: &str) -> Result<Checked, ConfigError> {
    check(&format!(
        r#"{{"listeners":{{"{address}":{{{members}}}}},
            "applications":{{"a/b":{{"type":"wasm","module":"/c.wasm"}}}}}}"#
    ))
}

#[track_caller]
fn refused(outcome: Result<Checked, ConfigError>, path: &str, detail: &str) {
    let error = outcome.unwrap_err();
    assert_eq!(
        (error.path.to_string().as_str(), error.detail.as_str()),
        (path, detail)
    );
}

#[track_caller]
fn warned(outcome: Result<Checked, ConfigError>, paths: &[&str]) {
    let warnings = outcome.unwrap().warnings;
    let found: Vec<_> = warnings
        .iter()
        .map(|warning| warning.path.to_string())
        .collect();
    assert_eq!(found, paths);
}

#[test]
fn the_walkthrough_is_accepted_as_it_stands() {
    let Checked { config, warnings } = check(WALKTHROUGH).unwrap();
    assert_eq!(warnings, []);
    let [listener] = config.listeners.as_slice() else {
        panic!("one listener")
    };
    assert_eq!(listener.address.name(), "127.0.0.1:8080");
    assert_eq!(listener.pass, Pass::Application("wasm".to_owned()));
    assert_eq!(listener.backlog, None);
    let application = config.application("wasm").unwrap();
    assert_eq!(
        application.component,
        PathBuf::from("/path/to/example.component.wasm")
    );
    assert_eq!(
        application.component_path().to_string(),
        "/applications/wasm/module"
    );
    assert_eq!(application.limits, Limits::default());
}

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
fn empty_configurations_are_configurations() {
    for text in [
        "{}",
        r#"{"listeners":{},"routes":[],"applications":{},"settings":{}}"#,
    ] {
        assert_eq!(check(text).unwrap().config, Config::default());
    }
    refused(
        check("[]"),
        "",
        "The configuration must be an object, but not an array.",
    );
}

#[test]
fn unknown_members_are_refused_and_near_ones_suggested() {
    let error = application(r#""enviroment":{}"#).unwrap_err();
    assert_eq!(error.detail, "Unknown parameter \"enviroment\".");
    assert_eq!(error.path.to_string(), "/applications/a");
    assert_eq!(error.suggestion, Some("environment"));
    // The older type's hooks are no part of the newer one.
    refused(
        application(r#""request_handler":"x""#),
        "/applications/a",
        "Unknown parameter \"request_handler\".",
    );
    assert_eq!(
        check(r#"{"nothing_like_it":1}"#).unwrap_err().suggestion,
        None
    );
}

#[test]
fn kinds_are_checked_with_their_path() {
    refused(
        check(r#"{"listeners":[]}"#),
        "/listeners",
        "The \"listeners\" value must be an object, but not an array.",
    );
    refused(
        application(r#""processes":1.5"#),
        "/applications/a/processes",
        "The \"processes\" value must be either an integer number or an object, but not a \
         fractional number.",
    );
    refused(
        application(r#""limits":{"timeout":"1"}"#),
        "/applications/a/limits/timeout",
        "The \"timeout\" value must be an integer number, but not a string.",
    );
    refused(
        check(r#"{"applications":{"a":{"type":"wasm","module":"/c","malloc_handler":1}}}"#),
        "/applications/a/malloc_handler",
        "The \"malloc_handler\" value must be a string, but not an integer number.",
    );
}

#[test]
fn a_listener_passes_to_an_application_that_exists() {
    let pass = |text: &str| listener("*:80", &format!(r#""pass":"{text}""#));
    let found = pass("applications/a%2Fb")
        .unwrap()
        .config
        .listeners
        .remove(0)
        .pass;
    assert_eq!(found, Pass::Application("a/b".to_owned()));
    for nowhere in [
        "applications",
        "applications/x",
        "applications/a%2Fb/t",
        "routes",
        "x",
    ] {
        refused(
            pass(nowhere),
            "/listeners/*:80/pass",
            &format!("Request \"pass\" points to invalid location \"{nowhere}\"."),
        );
    }
    for invalid in [
        "",
        "applications/",
        "/applications",
        "applications/%2",
        "a/b/c/d",
    ] {
        refused(
            pass(invalid),
            "/listeners/*:80/pass",
            &format!("Request \"pass\" value \"{invalid}\" is invalid."),
        );
    }
}

#[test]
fn the_older_form_of_pass_is_accepted() {
    let found = listener("*:80", r#""application":"a/b""#)
        .unwrap()
        .config
        .listeners
        .remove(0);
    assert_eq!(found.pass, Pass::Application("a/b".to_owned()));
    refused(
        listener("*:80", r#""application":"x""#),
        "/listeners/*:80/application",
        "Listening socket is assigned for a non existing application \"x\".",
    );
}

#[test]
fn a_listener_needs_an_address_and_a_pass() {
    refused(
        listener("localhost:80", r#""pass":"applications/a%2Fb""#),
        "/listeners/localhost:80",
        "The listener address \"localhost:80\" is invalid.",
    );
    refused(
        listener("*:80", ""),
        "/listeners/*:80/pass",
        "Required parameter \"pass\" is missing.",
    );
    refused(
        check(r#"{"listeners":{"*:80":1}}"#),
        "/listeners/*:80",
        "The \"*:80\" value must be an object, but not an integer number.",
    );
}

#[test]
fn two_names_of_one_socket_are_refused() {
    refused(
        check(
            r#"{"listeners":{"*:80":{"pass":"applications/a"},"0.0.0.0:80":{"pass":"applications/a"}},
                "applications":{"a":{"type":"wasm","module":"/c"}}}"#,
        ),
        "/listeners/0.0.0.0:80",
        "The listener address \"0.0.0.0:80\" is the same as \"*:80\".",
    );
}

#[test]
fn a_backlog_below_zero_is_the_servers_choice() {
    let backlog = |text: &str| {
        listener(
            "*:80",
            &format!(r#""pass":"applications/a%2Fb","backlog":{text}"#),
        )
    };
    let found = |text: &str| backlog(text).unwrap().config.listeners.remove(0).backlog;
    assert_eq!(found("0"), Some(0));
    assert_eq!(found("1e3"), Some(1000));
    assert_eq!(found("-1"), None);
    refused(
        backlog("-2"),
        "/listeners/*:80/backlog",
        "The \"backlog\" number must be equal to or greater than -1.",
    );
    refused(
        backlog("2147483648"),
        "/listeners/*:80/backlog",
        "The \"backlog\" number must not exceed 2147483647.",
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
fn a_timeout_is_in_seconds_and_zero_is_none() {
    let timeout = |text: &str| application(&format!(r#""limits":{{"timeout":{text}}}"#));
    let found = |text: &str| timeout(text).unwrap().config.applications[0].limits.timeout;
    assert_eq!(found("10"), Some(Duration::from_secs(10)));
    assert_eq!(found("0"), Some(Duration::MAX));
    refused(
        timeout("-1"),
        "/applications/a/limits/timeout",
        "The \"timeout\" number must not be negative.",
    );
    refused(
        timeout("4294968"),
        "/applications/a/limits/timeout",
        "The \"timeout\" number must not exceed 4294967.",
    );
}

#[test]
fn limits_are_read_with_their_units() {
    let members = r#""limits":{"timeout":5,"execution_timeout":0.05,"memory":65536,
                     "concurrency":1e6}"#;
    let Checked { config, warnings } = application(members).unwrap();
    assert_eq!(warnings, []);
    let expected = Limits {
        timeout: Some(Duration::from_secs(5)),
        execution_timeout: Some(Duration::from_millis(50)),
        memory: Some(65536),
        concurrency: NonZeroU32::new(1_000_000),
    };
    assert_eq!(config.applications[0].limits, expected);
    let unlimited = application(r#""limits":{"execution_timeout":0}"#).unwrap();
    let limits = unlimited.config.applications[0].limits;
    assert_eq!(limits.execution_timeout, Some(Duration::MAX));
}

#[test]
fn a_limit_out_of_bounds_is_refused_with_its_bounds() {
    let (time, memory, concurrency) = (
        "seconds from 0.001 to 4294967, or 0 for no limit",
        "a whole number of bytes from 65536 to 17179869184",
        "a whole number of requests from 1 to 1000000",
    );
    for (name, value, expected) in [
        ("execution_timeout", "-1", time),
        ("execution_timeout", "-0.5", time),
        ("execution_timeout", "0.0009", time),
        ("execution_timeout", "1e-300", time),
        ("execution_timeout", "4294967.5", time),
        ("execution_timeout", "9e18", time),
        ("memory", "0", memory),
        ("memory", "-65536", memory),
        ("memory", "65535", memory),
        ("memory", "17179869185", memory),
        ("memory", "9e18", memory),
        ("concurrency", "0", concurrency),
        ("concurrency", "-1", concurrency),
        ("concurrency", "1000001", concurrency),
        ("concurrency", "4294967297", concurrency),
    ] {
        refused(
            application(&format!(r#""limits":{{"{name}":{value}}}"#)),
            &format!("/applications/a/limits/{name}"),
            &format!("The \"{name}\" value must be {expected}, but not {value}."),
        );
    }
}

#[test]
fn a_limit_of_another_kind_is_refused() {
    let (integer, number) = (
        "an integer number",
        "either an integer number or a fractional number",
    );
    for (name, expected, value, kind) in [
        ("timeout", integer, "1.5", "a fractional number"),
        ("execution_timeout", number, r#""1""#, "a string"),
        ("execution_timeout", number, "null", "a null"),
        ("memory", integer, r#""1G""#, "a string"),
        ("memory", integer, "65536.5", "a fractional number"),
        ("memory", integer, "[]", "an array"),
        ("concurrency", integer, "1.5", "a fractional number"),
        ("concurrency", integer, "true", "a boolean"),
        ("requests", integer, "{}", "an object"),
    ] {
        refused(
            application(&format!(r#""limits":{{"{name}":{value}}}"#)),
            &format!("/applications/a/limits/{name}"),
            &format!("The \"{name}\" value must be {expected}, but not {kind}."),
        );
    }
}

#[test]
fn a_slip_in_the_name_of_an_option_is_told_with_the_name() {
    for (members, path, unknown, suggestion) in [
        (
            r#""limits":{"execution_timout":1}"#,
            "/limits",
            "execution_timout",
            "execution_timeout",
        ),
        (r#""limits":{"memroy":1}"#, "/limits", "memroy", "memory"),
        (
            r#""limits":{"concurency":1}"#,
            "/limits",
            "concurency",
            "concurrency",
        ),
        (r#""instance":{}"#, "", "instance", "instances"),
        (
            r#""instances":{"re_use":1}"#,
            "/instances",
            "re_use",
            "reuse",
        ),
        (
            r#""access":{"outbound-http":[]}"#,
            "/access",
            "outbound-http",
            "outbound_http",
        ),
        (
            r#""access":{"file_system":[]}"#,
            "/access",
            "file_system",
            "filesystem",
        ),
        (
            r#""access":{"filesystem":[{"path":"/a","readonly":true}]}"#,
            "/access/filesystem/0",
            "readonly",
            "read_only",
        ),
    ] {
        let error = application(members).unwrap_err();
        assert_eq!(error.detail, format!("Unknown parameter \"{unknown}\"."));
        assert_eq!(error.path.to_string(), format!("/applications/a{path}"));
        assert_eq!(error.suggestion, Some(suggestion));
    }
}

#[test]
fn instances_serve_one_request_unless_told_otherwise() {
    let found = |members: &str| application(members).unwrap().config.applications[0].instances;
    let number = |number| NonZeroU32::new(number).unwrap();
    assert_eq!(found(""), Instances::default());
    assert_eq!(found(r#""instances":{}"#), Instances::default());
    let expected = Instances {
        reuse: number(1_000_000),
        concurrency: number(1000),
    };
    assert_eq!(
        found(r#""instances":{"concurrency":1000,"reuse":1000000}"#),
        expected
    );
}

#[test]
fn instances_out_of_bounds_are_refused() {
    for (name, value, most) in [
        ("reuse", "0", 1_000_000),
        ("reuse", "-1", 1_000_000),
        ("reuse", "1000001", 1_000_000),
        ("concurrency", "0", 1000),
        ("concurrency", "1001", 1000),
    ] {
        refused(
            application(&format!(r#""instances":{{"{name}":{value}}}"#)),
            &format!("/applications/a/instances/{name}"),
            &format!(
                "The \"{name}\" value must be a whole number of requests from 1 to {most}, but \
                 not {value}."
            ),
        );
    }
    refused(
        application(r#""instances":{"reuse":1.5}"#),
        "/applications/a/instances/reuse",
        "The \"reuse\" value must be an integer number, but not a fractional number.",
    );
    refused(
        application(r#""instances":100"#),
        "/applications/a/instances",
        "The \"instances\" value must be an object, but not an integer number.",
    );
    refused(
        application(r#""instances":{"concurrency":5,"reuse":4}"#),
        "/applications/a/instances/concurrency",
        "The \"concurrency\" number must be less than or equal to \"reuse\", which is 4.",
    );
    refused(
        application(r#""instances":{"concurrency":2}"#),
        "/applications/a/instances/concurrency",
        "The \"concurrency\" number must be less than or equal to \"reuse\", which is 1.",
    );
}

fn folders(text: &str) -> Result<Checked, ConfigError> {
    application(&format!(r#""access":{{"filesystem":{text}}}"#))
}

#[test]
fn a_folder_is_a_string_or_an_object() {
    let folder = |path: &str, name: &str, read_only| Folder {
        path: path.into(),
        name: name.to_owned(),
        read_only,
    };
    let checked = folders(
        r#"["/srv/one",
            {"path":"/srv/two"},
            {"path":"/srv/../three","as":"/data","read_only":true},
            {"as":"//data/./inner/","read_only":false,"path":"/srv/four/"},
            "/"]"#,
    );
    let application = checked.unwrap().config.applications.remove(0);
    let expected = [
        folder("/srv/one", "/srv/one", false),
        folder("/srv/two", "/srv/two", false),
        folder("/srv/../three", "/data", true),
        folder("/srv/four/", "/data/inner", false),
        folder("/", "/", false),
    ];
    assert_eq!(application.access.filesystem, expected);
    assert_eq!(
        application.folder_path(3).to_string(),
        "/applications/a/access/filesystem/3"
    );
}

#[test]
fn a_folder_that_is_none_is_refused_with_its_place() {
    let absolute = |name: &str, text: &str| {
        format!("The \"{name}\" of a folder must be absolute, but not \"{text}\".")
    };
    let above = |text: &str| {
        format!(
            "The folder \"{text}\" has \"..\" in the name that guests would know it by; give it \
             another with \"as\"."
        )
    };
    let kinds = "The \"filesystem\" array must contain only strings, and objects of \"path\", \
                 \"as\" and \"read_only\".";
    let long = format!("/{}", "x".repeat(4095));
    for (folder, place, detail) in [
        (r#""""#, "", "The \"path\" value must not be empty."),
        (r#""srv""#, "", &*absolute("path", "srv")),
        (r#""./srv""#, "", &*absolute("path", "./srv")),
        (
            r#""/a\u0000""#,
            "",
            "The \"path\" value must not contain null character.",
        ),
        (r#""/a/../b""#, "", &above("/a/../b")),
        ("1", "", kinds),
        ("null", "", kinds),
        (r#"["/a"]"#, "", kinds),
        ("{}", "/path", "Required parameter \"path\" is missing."),
        (
            r#"{"path":1}"#,
            "/path",
            "The \"path\" value must be a string, but not an integer number.",
        ),
        (r#"{"path":"srv"}"#, "/path", &absolute("path", "srv")),
        (r#"{"path":"/a/.."}"#, "/path", &above("/a/..")),
        (
            r#"{"path":"/a","as":"data"}"#,
            "/as",
            &absolute("as", "data"),
        ),
        (
            r#"{"path":"/a","as":"/../data"}"#,
            "/as",
            &above("/../data"),
        ),
        (
            r#"{"path":"/a","as":""}"#,
            "/as",
            "The \"as\" value must not be empty.",
        ),
        (
            r#"{"path":"/a","read_only":1}"#,
            "/read_only",
            "The \"read_only\" value must be a boolean, but not an integer number.",
        ),
        (
            &format!(r#""{long}""#),
            "",
            &format!(
                "The \"path\" of a folder must have at most 4095 bytes, but not \"{}…\".",
                &long[..100]
            ),
        ),
    ] {
        refused(
            folders(&format!(r#"["/first",{folder}]"#)),
            &format!("/applications/a/access/filesystem/1{place}"),
            detail,
        );
    }
    refused(
        folders(r#""/srv""#),
        "/applications/a/access/filesystem",
        "The \"filesystem\" value must be an array, but not a string.",
    );
}

#[test]
fn two_folders_of_one_name_are_refused() {
    for second in [
        r#""/a""#,
        r#""/a/""#,
        r#""//a/.""#,
        r#"{"path":"/b","as":"/a"}"#,
    ] {
        refused(
            folders(&format!(r#"["/a",{second}]"#)),
            "/applications/a/access/filesystem/1",
            "Another folder is called \"/a\" already; each needs a name of its own, which \"as\" \
             can give.",
        );
    }
    // Two views of one folder are no mistake.
    assert!(folders(r#"["/a",{"path":"/a","as":"/b","read_only":true}]"#).is_ok());
}

#[test]
fn there_are_only_so_many_folders() {
    let many = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("\"/{n}\"")).collect();
        folders(&format!("[{}]", names.join(",")))
    };
    assert!(many(64).is_ok());
    refused(
        many(65),
        "/applications/a/access/filesystem",
        "The \"filesystem\" array must have at most 64 elements, but not 65.",
    );
}

fn outbound(text: &str) -> Result<Checked, ConfigError> {
    application(&format!(r#""access":{{"outbound_http":{text}}}"#))
}

#[test]
fn outgoing_requests_are_granted_one_by_one() {
    let checked = outbound(r#"["https://Api.example.com","http://*.internal:*"]"#).unwrap();
    assert_eq!(checked.warnings, []);
    let policy = &checked.config.applications[0].access.outbound_http;
    let grants: Vec<_> = policy.grants().iter().map(ToString::to_string).collect();
    assert_eq!(grants, ["https://api.example.com", "http://*.internal:*"]);
    for nothing in ["", r#""access":{}"#, r#""access":{"outbound_http":[]}"#] {
        let config = application(nothing).unwrap().config;
        assert!(config.applications[0].access.outbound_http.is_empty());
    }
}

#[test]
fn what_grants_nothing_is_refused_with_what_would() {
    refused(
        outbound(r#"["*","api.example.com"]"#),
        "/applications/a/access/outbound_http/1",
        "\"api.example.com\" grants nothing: it must be \"*\" or start with \"http://\" or \
         \"https://\", as \"https://api.example.com\" does.",
    );
    for (element, word) in [
        (r#""""#, "grants nothing"),
        (r#""https://a.example/""#, "end after the host or the port"),
        (r#""https://a.*.example""#, "a wildcard"),
        (r#""https://a.example:0""#, "from 1 to 65535"),
        (r#""https://u@a.example""#, "user info"),
        (r#""http://127.1""#, "four decimal numbers"),
        (r#""ftp://a.example""#, "\"http://\""),
        (r#""* *""#, "grants nothing"),
        ("1", "must contain only strings"),
        (r#"{"host":"a"}"#, "must contain only strings"),
    ] {
        let error = outbound(&format!("[{element}]")).unwrap_err();
        assert_eq!(
            error.path.to_string(),
            "/applications/a/access/outbound_http/0"
        );
        assert!(error.detail.contains(word), "{element}: {error}");
    }
    refused(
        outbound(r#""*""#),
        "/applications/a/access/outbound_http",
        "The \"outbound_http\" value must be an array, but not a string.",
    );
    let many = vec![r#""*""#; 257].join(",");
    refused(
        outbound(&format!("[{many}]")),
        "/applications/a/access/outbound_http",
        "The \"outbound_http\" array must have at most 256 elements, but not 257.",
    );
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
            r#"{"routes":[{"action":{"return":200}}]}"#,
            "/routes",
            "routes",
        ),
        (r#"{"upstreams":{"u":{}}}"#, "/upstreams", "upstreams"),
        (r#"{"settings":{"http":{}}}"#, "/settings", "settings"),
        (
            r#"{"access_log":"/var/log/access.log"}"#,
            "/access_log",
            "access_log",
        ),
    ] {
        refused(check(text), path, &unsupported(name));
    }
    for name in ["tls", "forwarded", "client_ip"] {
        refused(
            listener(
                "*:80",
                &format!(r#""pass":"applications/a%2Fb","{name}":{{}}"#),
            ),
            &format!("/listeners/*:80/{name}"),
            &unsupported(name),
        );
    }
    refused(
        check(r#"{"listeners":{"unix:/run/a":{}}}"#),
        "/listeners/unix:~1run~1a",
        "The listener address \"unix:/run/a\" is a Unix domain socket, which is not supported by \
         this version.",
    );
    refused(
        check(r#"{"listeners":{"*:80":{"pass":"routes"}},"routes":[]}"#),
        "/listeners/*:80/pass",
        "Request \"pass\" to \"routes\" is not supported by this version.",
    );
    refused(
        listener("*:80", r#""pass":"applications/$host""#),
        "/listeners/*:80/pass",
        "Request \"pass\" value \"applications/$host\" has variables, which are not supported by \
         this version.",
    );
}

#[test]
fn the_first_error_in_the_text_is_the_one_reported() {
    refused(
        check(r#"{"applications":{"a":{"type":"x"}},"listeners":1}"#),
        "/applications/a/type",
        "The module to run \"x\" is not found among the available application modules.",
    );
}
