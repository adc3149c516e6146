//! The check of whole configurations: unknown members, kinds, order of errors, JavaScript.

mod access;
mod access_log;
mod applications;
mod corpus;
mod forwarded;
mod json_schema;
mod limits;
mod listeners;
mod paths;
mod routes;
mod settings;
mod tls;
mod upstreams;

use std::path::PathBuf;

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
    corpus::record(text);
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
fn empty_configurations_are_configurations() {
    for text in [
        "{}",
        r#"{"listeners":{},"routes":{},"upstreams":{},"applications":{},"settings":{}}"#,
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
fn unknown_members_are_refused_with_a_suggestion() {
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
fn an_unknown_option_has_the_nearest_name_as_suggestion() {
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
fn the_first_error_in_the_text_is_the_one_reported() {
    refused(
        check(r#"{"applications":{"a":{"type":"x"}},"listeners":1}"#),
        "/applications/a/type",
        "The module to run \"x\" is not found among the available application modules.",
    );
}

#[test]
fn javascript_templates_are_refused_in_every_template() {
    const T: &str = "`/${uri}`";
    let action = |members: &str| format!(r#"{{"routes":[{{"action":{{{members}}}}}]}}"#);
    let texts = [
        (
            "pass",
            format!(r#"{{"listeners":{{"*:80":{{"pass":"{T}"}}}}}}"#),
        ),
        ("pass", action(&format!(r#""pass":"{T}""#))),
        ("share", action(&format!(r#""share":"{T}""#))),
        ("share", action(&format!(r#""share":["/a","{T}"]"#))),
        ("chroot", action(&format!(r#""share":"/a","chroot":"{T}""#))),
        (
            "location",
            action(&format!(r#""return":301,"location":"{T}""#)),
        ),
        (
            "rewrite",
            action(&format!(r#""return":200,"rewrite":"{T}""#)),
        ),
        (
            "x",
            action(&format!(r#""return":200,"response_headers":{{"x":"{T}"}}"#)),
        ),
        (
            "pass",
            action(&format!(r#""share":"/a","fallback":{{"pass":"{T}"}}"#)),
        ),
        (
            "if",
            format!(r#"{{"routes":[{{"match":{{"if":"!{T}"}},"action":{{"return":200}}}}]}}"#),
        ),
        (
            "format",
            format!(r#"{{"access_log":{{"path":"/a","format":"{T}"}}}}"#),
        ),
        (
            "a",
            format!(r#"{{"access_log":{{"path":"/a","format":{{"a":"{T}"}}}}}}"#),
        ),
        (
            "if",
            format!(r#"{{"access_log":{{"path":"/a","if":"{T}"}}}}"#),
        ),
    ];
    for (name, text) in texts {
        let error = check(&text).unwrap_err();
        assert_eq!(
            error.detail,
            format!("JavaScript (njs) is not supported in the \"{name}\" value."),
            "{text}"
        );
    }
    // Elsewhere a backquote is a character.
    let plain = format!(r#""environment":{{"A":"{T}"}}"#);
    assert!(application(&plain).is_ok());
}
