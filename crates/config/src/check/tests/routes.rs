//! `routes`: actions, patterns, shares, response headers and rewrites.

use super::*;
use crate::{Action, ActionKind};

/// One step with these members, beside an application `a` and routes to pass to.
fn step(members: &str) -> Result<Checked, ConfigError> {
    check(&format!(
        r#"{{"routes":{{"main":[{{{members}}}],"other":[]}},"upstreams":{{}},
            "applications":{{"a":{{"type":"wasm","module":"/c.wasm"}}}}}}"#
    ))
}

fn action(members: &str) -> Result<Checked, ConfigError> {
    step(&format!(r#""action":{{{members}}}"#))
}

#[track_caller]
fn first(outcome: Result<Checked, ConfigError>) -> Action {
    let route = outcome.unwrap().config.routes.remove(0);
    route.steps.steps()[0].1.clone()
}

/// A test of a step, refused at the path below `match`.
#[track_caller]
fn unmatched(members: &str, path: &str, detail: &str) {
    refused(
        step(&format!(
            r#""match":{{{members}}},"action":{{"return":200}}"#
        )),
        &format!("/routes/main/0/match{path}"),
        detail,
    );
}

#[test]
fn routes_are_an_array_or_an_object_of_arrays() {
    let array = check(r#"{"routes":[{"action":{"return":200}}]}"#).unwrap();
    assert_eq!(array.config.routes[0].name, None);
    let names: Vec<_> = action(r#""return":200"#)
        .unwrap()
        .config
        .routes
        .into_iter()
        .map(|route| route.name.unwrap())
        .collect();
    assert_eq!(names, ["main", "other"]);
    refused(
        check(r#"{"routes":{"main":{}}}"#),
        "/routes/main",
        "The \"main\" value must be an array, but not an object.",
    );
    refused(
        check(r#"{"routes":["a"]}"#),
        "/routes/0",
        "The \"routes\" array must contain only object values.",
    );
    refused(
        check(r#"{"routes":[{"match":{}}]}"#),
        "/routes/0/action",
        "Required parameter \"action\" is missing.",
    );
    let error = check(r#"{"routes":[{"actio":{"return":200}}]}"#).unwrap_err();
    assert_eq!(error.suggestion, Some("action"));
}

#[test]
fn an_action_is_of_one_kind() {
    refused(
        action(""),
        "/routes/main/0/action",
        "The \"action\" object must have either \"pass\", \"return\", \"share\", or \"proxy\" \
         option set.",
    );
    refused(
        action(r#""return":200,"share":"/www""#),
        "/routes/main/0/action",
        "The \"action\" object must have just one of \"pass\", \"return\", \"share\", or \
         \"proxy\" options set.",
    );
    refused(
        action(r#""return":200,"index":"a""#),
        "/routes/main/0/action",
        "Unknown parameter \"index\".",
    );
    let error = action(r#""share":"/www","follow_symlink":true"#).unwrap_err();
    assert_eq!(error.suggestion, Some("follow_symlinks"));
}

#[test]
fn a_pass_to_a_missing_destination_is_refused() {
    let pass = |text: &str| action(&format!(r#""pass":"{text}""#));
    let found = |text: &str| match first(pass(text)).kind {
        ActionKind::Pass(pass) => pass,
        kind => panic!("{kind:?}"),
    };
    assert_eq!(found("applications/a"), Pass::Application("a".to_owned()));
    assert_eq!(
        found("routes/other"),
        Pass::Routes(Some("other".to_owned()))
    );
    assert_eq!(
        found("routes/m%61in"),
        Pass::Routes(Some("main".to_owned()))
    );
    assert!(matches!(found("routes/$method"), Pass::Variable(_)));
    for nowhere in ["routes", "routes/none", "applications/b", "upstreams/a"] {
        refused(
            pass(nowhere),
            "/routes/main/0/action/pass",
            &format!("Request \"pass\" points to invalid location \"{nowhere}\"."),
        );
    }
    refused(
        pass("routes/$nothing"),
        "/routes/main/0/action/pass",
        "Unknown variable \"nothing\" in the \"pass\" value.",
    );
    refused(
        pass("routes/${method"),
        "/routes/main/0/action/pass",
        "Invalid variable at position 7 in the \"pass\" value.",
    );
    // Of an array, all is one route without a name.
    let array = r#"{"listeners":{"*:80":{"pass":"routes"}},"routes":[]}"#;
    let listener = check(array).unwrap().config.listeners.remove(0);
    assert_eq!(listener.pass, Pass::Routes(None));
}

#[test]
fn a_return_has_a_status_of_three_digits() {
    let status = |text: &str| action(&format!(r#""return":{text}"#));
    for outside in ["-1", "1000", "1e10"] {
        refused(
            status(outside),
            "/routes/main/0/action/return",
            "The \"return\" value is out of allowed HTTP status code range 0-999.",
        );
    }
    warned(status("0"), &["/routes/main/0/action/return"]);
    warned(status("199"), &["/routes/main/0/action/return"]);
    warned(status("200"), &[]);
    warned(status("999"), &[]);
    refused(
        action(r#""return":301,"location":"`${host}`""#),
        "/routes/main/0/action/location",
        "JavaScript (njs) is not supported in the \"location\" value.",
    );
}

#[test]
fn invalid_patterns_are_refused_with_their_path() {
    unmatched(
        r#""uri":["/a","~("]"#,
        "/uri/1",
        "Invalid regular expression: unclosed group at offset 0",
    );
    unmatched(
        r#""host":"a**""#,
        "/host",
        "The \"match\" pattern must not contain double \"*\" markers.",
    );
    unmatched(
        r#""query":"%zz""#,
        "/query",
        "The \"match\" pattern for \"query\" is encoded but is invalid.",
    );
    unmatched(
        r#""method":[1]"#,
        "/method/0",
        "The \"match\" pattern for \"method\" must be strings.",
    );
    unmatched(
        r#""arguments":{"a":1}"#,
        "/arguments/a",
        "The \"match\" pattern for \"arguments\" must be a string.",
    );
    unmatched(
        r#""headers":[{"a":{}}]"#,
        "/headers/0/a",
        "The \"match\" pattern for \"headers\" must be strings.",
    );
    unmatched(
        r#""scheme":"ftp""#,
        "/scheme",
        "The \"scheme\" can either be \"http\" or \"https\".",
    );
    unmatched(
        r#""headers":["a"]"#,
        "/headers/0",
        "The \"match\" patterns for \"headers\" must be objects.",
    );
    unmatched(
        r#""arguments":{"a%2":"b"}"#,
        "/arguments/a%2",
        "The \"match\" pattern for \"arguments\" is encoded but is invalid.",
    );
    unmatched(
        r#""cookies":{"":"b"}"#,
        "/cookies/",
        "The \"match\" pattern objects must not contain empty member names.",
    );
    unmatched(
        r#""source":["10.0.0.0/33"]"#,
        "/source/0",
        "The \"address\" has an invalid CIDR prefix.",
    );
    unmatched(
        r#""destination":"*:70000""#,
        "/destination",
        "The \"address\" port an invalid port.",
    );
    unmatched(
        r#""if":"$no""#,
        "/if",
        "Unknown variable \"no\" in the \"if\" value.",
    );
}

#[test]
fn a_share_has_files_and_may_have_a_fallback() {
    let ActionKind::Share(share) = first(action(
        r#""share":["/www$uri","/data$uri"],"index":"i","types":["image/*","!image/gif"],
           "chroot":"/www/$host","follow_symlinks":false,
           "fallback":{"share":"/else","fallback":{"pass":"applications/a"}}"#,
    ))
    .kind
    else {
        panic!("a share")
    };
    assert_eq!(share.paths.len(), 2);
    assert_eq!(share.index, "i");
    assert!(!share.follow_symlinks && share.traverse_mounts && !share.precompressed);
    assert!(share.types.unwrap().matches(b"image/png"));
    let ActionKind::Share(next) = share.fallback.unwrap().kind else {
        panic!("another")
    };
    assert!(next.fallback.is_some());
    refused(
        action(r#""share":[]"#),
        "/routes/main/0/action/share",
        "The \"share\" array must contain at least one element.",
    );
    refused(
        action(r#""share":["/a",1]"#),
        "/routes/main/0/action/share/1",
        "The \"share\" array must contain only string values.",
    );
    refused(
        action(r#""share":"/a","fallback":{"pass":"routes/none"}"#),
        "/routes/main/0/action/fallback/pass",
        "Request \"pass\" points to invalid location \"routes/none\".",
    );
}

#[test]
fn response_headers_that_frame_the_body_are_refused() {
    let headers =
        |members: &str| action(&format!(r#""return":200,"response_headers":{{{members}}}"#));
    let found = first(headers(r#""X-A":"$host","Server":null"#)).response_headers;
    assert_eq!(found[0].name.as_str(), "x-a");
    assert_eq!(found[1].value, None);
    let path = "/routes/main/0/action/response_headers";
    warned(headers(r#""Server":null,"Date":"x""#), &[]);
    warned(headers(r#""Date":null"#), &[&format!("{path}/Date")]);
    refused(
        headers(r#""":"a""#),
        &format!("{path}/"),
        "The response header name must not be empty.",
    );
    for name in ["Content-Length", "transfer-encoding"] {
        refused(
            headers(&format!(r#""{name}":"1""#)),
            &format!("{path}/{name}"),
            &format!("The \"{name}\" response header value is not supported"),
        );
    }
    refused(
        headers(r#""A":1"#),
        &format!("{path}/A"),
        "The \"A\" response header value must either be a string or a null",
    );
    refused(
        headers(r#""A b":"1""#),
        &format!("{path}/A b"),
        "The response header name \"A b\" contains characters that are not allowed in a header field \
         name.",
    );
    refused(
        headers(r#""A":"1\n2""#),
        &format!("{path}/A"),
        "The \"A\" response header value must not contain control characters.",
    );
    refused(
        headers(r#""A":"1","a":"2""#),
        &format!("{path}/a"),
        "The response header \"a\" is set twice: names are compared without regard to case.",
    );
    let many = |count| {
        let members: Vec<_> = (0..count).map(|at| format!(r#""a{at}":"1""#)).collect();
        headers(&members.join(","))
    };
    assert!(many(1024).is_ok());
    refused(
        many(1025),
        path,
        "The \"response_headers\" object must have at most 1024 members, but not 1025.",
    );
}

#[test]
fn a_rewrite_is_a_path() {
    assert!(
        first(action(r#""rewrite":"/b$uri","return":200"#))
            .rewrite
            .is_some()
    );
    refused(
        action(r#""rewrite":"/%zz","return":200"#),
        "/routes/main/0/action/rewrite",
        "The \"rewrite\" value \"/%zz\" is not a valid path: a \"%\" must be followed by two hexadecimal digits.",
    );
}
