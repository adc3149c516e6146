use std::num::NonZeroU32;
use std::time::Duration;

use super::*;

fn http(members: &str) -> Result<Checked, ConfigError> {
    check(&format!(r#"{{"settings":{{"http":{{{members}}}}}}}"#))
}

#[test]
fn what_is_not_set_is_as_in_unit() {
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
           "static":{"mime_types":{"text/x-code":[".c",".h"],"text/plain":"README"}}"#,
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
        "The \"a\n\" MIME type cannot stand in a header field.",
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
fn settings_about_buffers_are_warned_of() {
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
        &["/settings/listen_threads"],
    );
}
