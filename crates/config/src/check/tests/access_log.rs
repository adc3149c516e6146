//! `access_log`.

use super::*;
use crate::{AccessLog, LogFormat};

fn log(text: &str) -> Result<Checked, ConfigError> {
    check(&format!(r#"{{"access_log":{text}}}"#))
}

#[track_caller]
fn found(text: &str) -> AccessLog {
    log(text).unwrap().config.access_log.unwrap()
}

#[test]
fn an_access_log_of_a_path_alone_has_the_combined_format() {
    let short = found(r#""/var/log/access.log""#);
    let long = found(
        r#"{"path":"/var/log/access.log","format":"$remote_addr - - [$time_local] \"$request_line\" $status $body_bytes_sent \"$header_referer\" \"$header_user_agent\""}"#,
    );
    assert_eq!(short.path, PathBuf::from("/var/log/access.log"));
    assert_eq!(short.format, long.format);
    assert_eq!(short.at.to_string(), "/access_log");
    assert_eq!(long.at.to_string(), "/access_log/path");
    assert_eq!(check("{}").unwrap().config.access_log, None);
}

#[test]
fn a_format_is_a_text_or_an_object_of_texts() {
    let LogFormat::Json(members) =
        found(r#"{"path":"/a","format":{"b":"$uri","a":"text"},"if":"!$arg_q"}"#).format
    else {
        panic!("an object")
    };
    assert_eq!(members[0].0, "b");
    assert_eq!(members[1].1.constant(), Some(&b"text"[..]));
    refused(
        log(r#"{"path":"/a","format":{"b":1}}"#),
        "/access_log/format/b",
        "In the access log format, the value must be a string.",
    );
    refused(
        log(r#"{"path":"/a","format":{"":"a"}}"#),
        "/access_log/format/",
        "In the access log format, the name must not be empty.",
    );
    refused(
        log(r#"{"path":"/a","format":"$no"}"#),
        "/access_log/format",
        "Unknown variable \"no\" in the \"format\" value.",
    );
    refused(
        log(r#"{"path":"/a","if":"`${uri}`"}"#),
        "/access_log/if",
        "JavaScript (njs) is not supported in the \"if\" value.",
    );
}

#[test]
fn the_path_of_an_access_log_is_absolute() {
    refused(
        log("{}"),
        "/access_log/path",
        "The \"path\" string must not be empty.",
    );
    refused(
        log(r#""""#),
        "/access_log",
        "The \"access_log\" value must not be empty.",
    );
    refused(
        log(r#"{"path":"access.log"}"#),
        "/access_log/path",
        "The \"path\" string must be an absolute path.",
    );
    let error = log(r#"{"path":"/a","fromat":"a"}"#).unwrap_err();
    assert_eq!(error.suggestion, Some("format"));
}
