//! `rewrite`: the new path, and path traversal by the values of variables.

use routing::{Match, Property, Rewrite, RewriteError, Target, TargetError, TemplateErrorKind};
use routing::{Request, Variable, VariableSet, Variables};

use crate::support::{Sample, property};

/// The path and what is sent on, once a request for `target` has been rewritten.
fn rewritten(rewrite: &str, target: &str) -> Result<(String, String), TargetError> {
    let rewrite = Rewrite::parse(rewrite, VariableSet::REQUEST).unwrap();
    Sample::get(target).ask(|request| {
        let target = rewrite.apply(request.target, request)?;
        assert!(target.is_rewritten());
        assert_eq!(target.raw(), request.target.raw());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok((text(target.path()), text(&target.to_send())))
    })
}

fn path(rewrite: &str, target: &str) -> String {
    rewritten(rewrite, target).unwrap().0
}

#[test]
fn a_rewrite_replaces_the_path() {
    for (rewrite, target, wanted) in [
        ("/new", "/", "/new"),
        ("", "/", ""),
        ("/$host", "/", "/localhost"),
        ("${uri}a", "/", "/a"),
        ("/v1$uri", "/a/b", "/v1/a/b"),
        ("${request_uri}oo", "/%66", "/foo"),
        ("${request_uri}o%6F", "/%66", "/foo"),
        ("/foo%2Ffoo", "/", "/foo/foo"),
        ("//a/./b/../c", "/", "/a/c"),
        ("relative", "/", "relative"),
    ] {
        assert_eq!(path(rewrite, target), wanted, "{rewrite} {target}");
    }
}

#[test]
fn a_rewrite_keeps_the_query_of_the_request() {
    assert_eq!(
        rewritten("/new?some", "/foo?arg=val").unwrap(),
        ("/new".to_owned(), "/new?arg=val".to_owned())
    );
    // Here the path ends where the target's query begins, and `oo` is a part of that.
    assert_eq!(path("${request_uri}oo", "/f?a"), "/f");
    assert_eq!(path("/a#b", "/"), "/a");
    let rewrite = Rewrite::parse("/new?some", VariableSet::REQUEST).unwrap();
    Sample::get("/foo?arg=val").ask(|request| {
        let target = rewrite.apply(request.target, request).unwrap();
        let after = Request {
            target: &target,
            ..*request
        };
        let tests = Match::new([
            property(Property::Uri, &["/new"]),
            property(Property::Query, &["arg=val"]),
        ]);
        assert!(tests.matches(&after, &after));
        assert_eq!(&*after.value(&Variable::Uri).unwrap(), b"/new");
        assert_eq!(
            &*after.value(&Variable::RequestUri).unwrap(),
            b"/foo?arg=val"
        );
    });
}

#[test]
fn a_rewritten_path_is_percent_encoded_when_sent_on() {
    for (rewrite, target, sent) in [
        ("/foo", "/blah%2Fblah?a=b", "/foo?a=b"),
        ("/a b", "/", "/a%20b"),
        ("/a%25b", "/", "/a%25b"),
        (
            "/$arg_a",
            "/?a=%D0%AE%20%0a",
            "/%D0%AE%20%0A?a=%D0%AE%20%0a",
        ),
        // A part of the path stays one.
        ("/a%3Fb%23c", "/?d", "/a%3Fb%23c?d"),
        ("/[a]~!$dollar&'()*+,;=:@", "/", "/[a]~!$&'()*+,;=:@"),
    ] {
        assert_eq!(rewritten(rewrite, target).unwrap().1, sent, "{rewrite}");
    }
}

#[test]
fn a_rewrite_percent_decodes_a_variable_again() {
    assert_eq!(path("/v1$uri", "/%252e"), "/v1/");
    assert_eq!(path("/v1$uri", "/a%253Fb"), "/v1/a?b");
    assert_eq!(path("/v1$uri", "/a%3Fb"), "/v1/a");
    assert_eq!(
        rewritten("/v1$uri", "/100%25"),
        Err(TargetError::PercentEncoding)
    );
}

#[test]
fn a_rewrite_refuses_path_traversal_by_a_variable() {
    for (rewrite, target, wanted) in [
        ("$arg_a", "/?a=../etc", TargetError::AboveRoot),
        ("$arg_a", "/?a=%252e./etc", TargetError::AboveRoot),
        ("$arg_a", "/?a=..", TargetError::AboveRoot),
        ("/$arg_a", "/?a=../etc", TargetError::AboveRoot),
        ("/a/$arg_a", "/?a=../../etc", TargetError::AboveRoot),
        ("a/$arg_a", "/?a=../b", TargetError::AboveRoot),
        ("/$arg_a", "/?a=%00", TargetError::Forbidden),
        ("/$arg_a", "/?a=%2500", TargetError::Forbidden),
    ] {
        assert_eq!(
            rewritten(rewrite, target),
            Err(wanted),
            "{rewrite} {target}"
        );
    }
    assert_eq!(path("/a/$arg_a", "/?a=../b"), "/b");
}

#[test]
fn an_invalid_constant_rewrite_is_refused_when_it_is_parsed() {
    let refused = |text| Rewrite::parse(text, VariableSet::REQUEST).unwrap_err();
    let RewriteError::Template(error) = refused("/$blah") else {
        panic!("another error");
    };
    assert_eq!(error.kind, TemplateErrorKind::Unknown("blah".to_owned()));
    for (text, message) in [
        (
            "/..",
            "\"/..\" is not a valid path: the path leads above its root",
        ),
        (
            "/%zz",
            "\"/%zz\" is not a valid path: a \"%\" must be followed by two hexadecimal digits",
        ),
        ("/$blah", "unknown variable \"blah\" in \"/$blah\""),
    ] {
        assert_eq!(refused(text).to_string(), message);
    }
}

#[test]
fn a_rewrite_may_follow_another() {
    let parse = |text| Rewrite::parse(text, VariableSet::REQUEST).unwrap();
    let (first, second) = (parse("/v1$uri"), parse("/v2$uri"));
    Sample::get("/a?b").ask(|request| {
        let target: Target<'_> = first.apply(request.target, request).unwrap();
        let request = Request {
            target: &target,
            ..*request
        };
        let target = second.apply(request.target, &request).unwrap();
        assert_eq!(target.path(), b"/v2/v1/a");
        assert_eq!(&*target.to_send(), b"/v2/v1/a?b");
    });
}
