//! `limits` and `instances`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;

#[test]
fn a_timeout_is_in_seconds_and_zero_means_unlimited() {
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
                     "concurrency":1e6,"files":128,"weight":10}"#;
    let Checked { config, warnings } = application(members).unwrap();
    assert_eq!(warnings, []);
    let expected = Limits {
        timeout: Some(Duration::from_secs(5)),
        execution_timeout: Some(Duration::from_millis(50)),
        memory: Some(65536),
        concurrency: NonZeroU32::new(1_000_000),
        files: Some(128),
        weight: NonZeroU32::new(10),
    };
    assert_eq!(config.applications[0].limits, expected);
    let unlimited = application(r#""limits":{"execution_timeout":0}"#).unwrap();
    let limits = unlimited.config.applications[0].limits;
    assert_eq!(limits.execution_timeout, Some(Duration::MAX));
}

#[test]
fn a_limit_out_of_bounds_is_refused_with_the_bounds() {
    let (time, memory, concurrency, files, weight) = (
        "seconds from 0.001 to 4294967, or 0 for no limit",
        "a whole number of bytes from 65536 to 17179869184",
        "a whole number of requests from 1 to 1000000",
        "a whole number of files from 0 to 1000000",
        "a whole number from 1 to 1000",
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
        ("files", "-1", files),
        ("files", "1000001", files),
        ("weight", "0", weight),
        ("weight", "1001", weight),
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
fn instances_serve_one_request_by_default() {
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
