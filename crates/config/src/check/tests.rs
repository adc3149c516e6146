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
    assert_eq!(application.limits, Limits { timeout: None });
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
        application(r#""access":{"filesystem":["/tmp"]}"#),
        "/applications/a/access/filesystem",
        &unsupported("filesystem"),
    );
    assert!(application(r#""access":{"filesystem":[]}"#).is_ok());
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
