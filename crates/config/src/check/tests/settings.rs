//! `settings`: `http`, `compression` and `telemetry`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;

fn http(members: &str) -> Result<Checked, ConfigError> {
    check(&format!(r#"{{"settings":{{"http":{{{members}}}}}}}"#))
}

#[test]
fn settings_have_units_defaults() {
    let settings = http("").unwrap().config.settings;
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.idle_timeout, Duration::from_secs(180));
    assert_eq!(settings.max_body_size, 8_388_608);
    assert!(settings.discard_unsafe_fields && settings.server_version && !settings.log_route);
}

#[test]
fn settings_are_read_with_their_units() {
    let settings = http(
        r#""header_read_timeout":1,"body_read_timeout":2,"send_timeout":3,"idle_timeout":4,
           "max_body_size":0,"discard_unsafe_fields":false,"server_version":false,"log_route":true,
           "chunked_transform":true,"static":{"mime_types":{"text/x-code":[".c",".h"],"text/plain":"README"}}"#,
    )
    .unwrap()
    .config
    .settings;
    let pair = |name: &str, extension: &str| (name.to_owned(), extension.to_owned());
    assert_eq!(
        settings,
        Settings {
            listen_threads: None,
            header_read_timeout: Duration::from_secs(1),
            body_read_timeout: Duration::from_secs(2),
            send_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(4),
            max_body_size: 0,
            discard_unsafe_fields: false,
            chunked_transform: true,
            server_version: false,
            log_route: true,
            mime_types: vec![
                pair("text/x-code", ".c"),
                pair("text/x-code", ".h"),
                pair("text/plain", "README"),
            ],
        }
    );
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let refuses = |members: &str, path: &str, detail: &str| {
        refused(http(members), &format!("/settings/http{path}"), detail);
    };
    refuses(
        r#""idle_timeout":0"#,
        "/idle_timeout",
        "The \"idle_timeout\" number must be equal to or greater than 1.",
    );
    refuses(
        r#""send_timeout":4294968"#,
        "/send_timeout",
        "The \"send_timeout\" number must not exceed 4294967.",
    );
    refuses(
        r#""max_body_size":-1"#,
        "/max_body_size",
        "The \"max_body_size\" number must not be negative.",
    );
    refuses(
        r#""log_route":1"#,
        "/log_route",
        "The \"log_route\" value must be a boolean, but not an integer number.",
    );
    refuses(
        r#""static":{"mime_types":{"a/b":""}}"#,
        "/static/mime_types/a~1b",
        "An empty file extension for the \"a/b\" MIME type.",
    );
    refuses(
        r#""static":{"mime_types":{"a/b":[".x"],"c/d":[".X"]}}"#,
        "/static/mime_types/c~1d/0",
        "The \".X\" file extension has been declared for \"a/b\" and \"c/d\" MIME types at the \
         same time.",
    );
    refuses(
        r#""static":{"mime_types":{"a\n":".x"}}"#,
        "/static/mime_types/a\n",
        "The \"a\n\" MIME type is not a valid value of a header field.",
    );
    let error = http(r#""log_routes":true"#).unwrap_err();
    assert_eq!(error.suggestion, Some("log_route"));
    refused(
        check(r#"{"settings":{"js_module":"a"}}"#),
        "/settings",
        "Unknown parameter \"js_module\".",
    );
    refused(
        check(r#"{"settings":{"listen_threads":0}}"#),
        "/settings/listen_threads",
        "The \"listen_threads\" number must be equal to or greater than 1.",
    );
    refused(
        check(r#"{"settings":{"listen_threads":2147483648}}"#),
        "/settings/listen_threads",
        "The \"listen_threads\" number must not exceed 2147483647.",
    );
}

#[test]
fn settings_of_buffers_are_a_warning() {
    warned(
        http(
            r#""large_header_buffer_size":8192,"body_buffer_size":1,"body_temp_path":"/tmp",
               "chunked_transform":true,"websocket":{"max_frame_size":1},"compression":{}"#,
        ),
        &[
            "/settings/http/large_header_buffer_size",
            "/settings/http/body_buffer_size",
            "/settings/http/body_temp_path",
            "/settings/http/websocket",
        ],
    );
    warned(
        http(r#""chunked_transform":false"#),
        &["/settings/http/chunked_transform"],
    );
    let threads = |text: &str| {
        let checked = check(&format!(r#"{{"settings":{{{text}}}}}"#));
        checked.unwrap().config.settings.listen_threads
    };
    assert_eq!(threads(""), None);
    assert_eq!(threads(r#""listen_threads":2"#), NonZeroU32::new(2));
    assert_eq!(
        threads(r#""listen_threads":2147483647"#),
        NonZeroU32::new(2_147_483_647)
    );
    warned(
        check(r#"{"settings":{"listen_threads":1,"telemetry":{}}}"#),
        &[],
    );
}

#[test]
fn compression_is_checked_and_has_no_effect() {
    const AT: &str = "/settings/http/compression";
    let compression = |text: &str| http(&format!(r#""compression":{text}"#));
    warned(compression("{}"), &[]);
    for text in [
        r#"{"types":["text/*","!text/x-*"],"compressors":[{"encoding":"gzip","level":9,"min_length":1},
            {"encoding":"zstd"},{"encoding":"br"},{"encoding":"deflate"},{"encoding":"identity"}]}"#,
        r#"{"types":"text/html"}"#,
        r#"{"compressors":{}}"#,
        r#"{"compressors":{"encoding":"gzip"}}"#,
    ] {
        warned(compression(text), &[AT]);
    }
    for (text, path, detail) in [
        (
            r#"{"compressors":[{"encoding":"x"}]}"#,
            "/compressors/0/encoding",
            "\"x\" is not a supported compressor.",
        ),
        (
            r#"{"compressors":{"encoding":"x"}}"#,
            "/compressors/encoding",
            "\"x\" is not a supported compressor.",
        ),
        (
            r#"{"compressors":[1]}"#,
            "/compressors/0",
            "The \"compressors\" array must contain only object values.",
        ),
        (
            r#"{"compressors":[{}]}"#,
            "/compressors/0/encoding",
            "Required parameter \"encoding\" is missing.",
        ),
        (
            r#"{"compressors":[{"encoding":"gzip","level":"1"}]}"#,
            "/compressors/0/level",
            "The \"level\" value must be an integer number, but not a string.",
        ),
        (r#"{"x":1}"#, "", "Unknown parameter \"x\"."),
    ] {
        refused(compression(text), &format!("{AT}{path}"), detail);
    }
}

#[test]
fn telemetry_is_checked_and_has_no_effect() {
    const AT: &str = "/settings/telemetry";
    let telemetry = |text: &str| check(&format!(r#"{{"settings":{{"telemetry":{text}}}}}"#));
    for text in [
        r#"{"endpoint":"http://127.0.0.1:4317","protocol":"grpc","batch_size":65536,"sampling_ratio":1}"#,
        r#"{"endpoint":"http://127.0.0.1:4318/v1/traces","protocol":"HTTP","sampling_ratio":0.5}"#,
    ] {
        warned(telemetry(text), &[AT]);
    }
    let with = |members: &str| {
        telemetry(&format!(
            r#"{{"endpoint":"x","protocol":"http",{members}}}"#
        ))
    };
    for (outcome, path, detail) in [
        (
            telemetry(r#"{"batch_size":1}"#),
            "/endpoint",
            "Required parameter \"endpoint\" is missing.",
        ),
        (
            telemetry(r#"{"endpoint":"x","protocol":"udp"}"#),
            "/protocol",
            "The \"protocol\" must be \"http\" or \"grpc\".",
        ),
        (
            with(r#""batch_size":0"#),
            "/batch_size",
            "The \"batch_size\" must be greater than 0.",
        ),
        (
            with(r#""batch_size":65537"#),
            "/batch_size",
            "The \"batch_size\" must not exceed 65536.",
        ),
        (
            with(r#""sampling_ratio":1.1"#),
            "/sampling_ratio",
            "The \"sampling_ratio\" must be between 0 and 1.",
        ),
    ] {
        refused(outcome, &format!("{AT}{path}"), detail);
    }
}
