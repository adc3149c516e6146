//! Variables in strings.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

use std::borrow::Cow;

use http::HeaderMap;
use routing::{
    Condition, Expanded, Template, TemplateErrorKind, Variable, VariableKind, VariableSet,
    Variables, response_header,
};

/// A request for `/path`, by GET, with some of everything.
struct Sample;

impl Variables for Sample {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, [u8]>> {
        let text = match variable {
            Variable::Method => "GET",
            Variable::Uri => "/path",
            Variable::Host => "localhost",
            Variable::Status => "200",
            Variable::Argument(name) if **name == *"foo" => "h",
            Variable::Cookie(name) if **name == *"foo" => "la",
            Variable::Header(name) if name == "foo-bar" => "b",
            Variable::Header(name) if name == "empty" => "",
            Variable::ResponseHeader(name) if **name == *"content_type" => "text/html",
            _ => return None,
        };
        Some(Cow::Borrowed(text.as_bytes()))
    }
}

fn parse(text: &str) -> Result<Template, TemplateErrorKind> {
    Template::parse(text, VariableSet::ALL).map_err(|error| error.kind)
}

fn expand(text: &str) -> String {
    let template = parse(text).unwrap();
    assert_eq!(template.to_string(), text);
    String::from_utf8(template.expand(&Sample).into_owned()).unwrap()
}

#[test]
fn variables_are_replaced_at_any_position() {
    for (text, wanted) in [
        ("", ""),
        ("plain", "plain"),
        ("$uri$method", "/pathGET"),
        ("${uri}${method}", "/pathGET"),
        ("${uri}$method", "/pathGET"),
        ("$method$method", "GETGET"),
        ("$method$dollar$method", "GET$GET"),
        ("https://$host$uri?a", "https://localhost/path?a"),
        ("routes/${method}_route", "routes/GET_route"),
        ("$method-$host", "GET-localhost"),
        ("$method}", "GET}"),
        ("Ю$method", "ЮGET"),
    ] {
        assert_eq!(expand(text), wanted, "{text}");
    }
}

#[test]
fn a_dollar_sign_is_a_variable_that_makes_a_constant() {
    for (text, wanted) in [
        ("https://path${dollar}dollar", "https://path$dollar"),
        ("path$dollar${dollar}", "path$$"),
    ] {
        let template = parse(text).unwrap();
        assert_eq!(template.constant(), Some(wanted.as_bytes()), "{text}");
        assert!(matches!(template.expand(&Sample), Cow::Borrowed(_)));
    }
    assert_eq!(parse("$uri").unwrap().constant(), None);
}

#[test]
fn a_template_of_one_variable_is_not_copied() {
    let template = parse("${uri}").unwrap();
    assert!(matches!(template.expand(&Sample), Cow::Borrowed(b"/path")));
}

#[test]
fn prefixed_variables_are_arguments_cookies_and_fields() {
    for (text, wanted) in [
        ("$header_foo_bar$cookie_foo$arg_foo", "blah"),
        ("$header_Foo_Bar", "b"),
        ("$arg_Foo|$cookie_fOO|$arg_foo_bar", "||"),
        ("$response_header_content_type", "text/html"),
        ("$response_header_Content_Type", "text/html"),
    ] {
        assert_eq!(expand(text), wanted, "{text}");
    }
}

#[test]
fn a_name_ends_at_the_first_character_that_is_neither_letter_nor_underscore() {
    // The documentation's `$header_accept-encoding` is `$header_accept`, in Unit, too.
    assert_eq!(expand("$header_foo-bar"), "-bar");
    assert_eq!(expand("$arg_foo1"), "h1");
    assert_eq!(expand("$arg_foo%62"), "h%62");
    assert_eq!(expand("$arg_f!~"), "!~");
    assert_eq!(
        parse("${arg_foo1}"),
        Err(TemplateErrorKind::Invalid { position: 0 })
    );
}

#[test]
fn every_variable_of_the_documentation_is_known() {
    for name in [
        "arg_a",
        "body_bytes_sent",
        "cookie_a",
        "dollar",
        "header_a",
        "header_referer",
        "header_user_agent",
        "host",
        "method",
        "remote_addr",
        "request_id",
        "request_line",
        "request_time",
        "request_uri",
        "response_header_connection",
        "response_header_content_length",
        "response_header_transfer_encoding",
        "status",
        "time_local",
        "uri",
    ] {
        parse(&format!("${name}")).unwrap();
    }
}

#[test]
fn a_malformed_variable_is_refused_with_its_position() {
    for (text, position) in [
        ("$", 0),
        ("${", 0),
        ("${}", 0),
        ("$uri$$host", 4),
        ("a${uri", 1),
        ("${{uri}", 0),
        ("$1", 0),
        ("$ uri", 0),
        ("Ю$", 2),
        ("${uri }", 0),
    ] {
        assert_eq!(
            parse(text),
            Err(TemplateErrorKind::Invalid { position }),
            "{text}"
        );
    }
}

#[test]
fn an_unknown_variable_is_named() {
    for (text, name) in [
        ("$ur", "ur"),
        ("/$blah", "blah"),
        ("$uriblah", "uriblah"),
        ("$Uri", "Uri"),
        ("$ar", "ar"),
        ("$arg", "arg"),
        ("$arg_", "arg_"),
        ("$cookie", "cookie"),
        ("$cookie_", "cookie_"),
        ("$header", "header"),
        ("${header_}", "header_"),
        ("$response_header_", "response_header_"),
        ("$hostblah", "hostblah"),
    ] {
        assert_eq!(
            parse(text),
            Err(TemplateErrorKind::Unknown(name.to_owned())),
            "{text}"
        );
    }
}

#[test]
fn a_variable_outside_of_the_allowed_set_is_refused() {
    let of = |text: &str, set| Template::parse(text, set).map_err(|error| error.kind);
    for name in ["status", "body_bytes_sent", "response_header_date"] {
        let text = format!("${name}");
        let refused = Err(TemplateErrorKind::Unavailable(name.to_owned()));
        assert_eq!(of(&text, VariableSet::REQUEST), refused);
        of(&text, VariableSet::RESPONSE).unwrap();
    }
    of("$uri$arg_a$request_id$dollar", VariableSet::REQUEST).unwrap();
    let only = VariableSet::of(&[VariableKind::Host]);
    of("$host$dollar", only).unwrap();
    of("$uri", only).unwrap_err();
}

#[test]
fn a_javascript_template_is_refused() {
    assert_eq!(parse("`${host}`"), Err(TemplateErrorKind::Script));
    assert_eq!(parse("`"), Err(TemplateErrorKind::Script));
    assert_eq!(expand("a`$method`"), "a`GET`");
    let error = Condition::parse("!`a`", VariableSet::ALL).unwrap_err();
    assert_eq!(error.kind, TemplateErrorKind::Script);
}

#[test]
fn an_access_log_shows_what_is_missing_and_what_is_empty() {
    let template = parse("$method \"$header_empty\" $arg_none$dollar $header_x").unwrap();
    let mut line = b"> ".to_vec();
    template.log(&Sample, &mut line);
    assert_eq!(line, b"> GET \"\" -$ -");
    parse("constant").unwrap().log(&Sample, &mut line);
    assert!(line.ends_with(b"-constant"));
}

#[test]
fn conditions_are_true_except_for_five_values() {
    for (text, wanted) in [
        ("", false),
        ("0", false),
        ("false", false),
        ("null", false),
        ("undefined", false),
        ("!", true),
        ("!null", true),
        ("1", true),
        ("00", true),
        (" 0", true),
        ("False", true),
        ("!!", false),
        ("$arg_foo", true),
        ("!$arg_foo", false),
        ("$arg_none", false),
        ("!$arg_none", true),
        ("$header_empty", false),
        ("$arg_none$cookie_none", false),
        ("$arg_none${arg_none}0", false),
        ("$arg_foo$arg_none", true),
    ] {
        let condition = Condition::parse(text, VariableSet::ALL).unwrap();
        assert_eq!(condition.holds(&Sample), wanted, "{text}");
    }
    assert!(Condition::parse("!$arg_", VariableSet::ALL).is_err());
}

#[test]
fn a_response_field_is_found_by_its_name_with_underscores() {
    let mut headers = HeaderMap::new();
    headers.append("content-type", "text/html".parse().unwrap());
    headers.append("x_a-b", "first".parse().unwrap());
    headers.append("x_a-b", "second".parse().unwrap());
    assert_eq!(
        response_header(&headers, "content_type"),
        Some(&b"text/html"[..])
    );
    assert_eq!(response_header(&headers, "x_a_b"), Some(&b"first"[..]));
    assert_eq!(response_header(&headers, "content"), None);
}

#[test]
fn a_message_names_the_variable_and_the_text() {
    for (text, wanted) in [
        ("/$blah", "unknown variable \"blah\" in \"/$blah\""),
        ("/$", "invalid variable at position 1 in \"/$\""),
        ("`a`", "JavaScript is not supported in \"`a`\""),
        (
            "$status",
            "variable \"status\" has no value yet in \"$status\"",
        ),
    ] {
        let error = Template::parse(text, VariableSet::REQUEST).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn visiting_a_template_distinguishes_literals_from_values() {
    let template = parse("/www/$host$arg_none/x").unwrap();
    let mut pieces = Vec::new();
    template.visit(&Sample, |piece| {
        pieces.push(match piece {
            Expanded::Literal(text) => (false, text.to_vec()),
            Expanded::Value(value) => (true, value.to_vec()),
        });
    });
    assert_eq!((pieces[0].0, &*pieces[0].1), (false, &b"/www/"[..]));
    assert!(pieces[1].0);
    assert_eq!(pieces.last().unwrap(), &(false, b"/x".to_vec()));
    let whole: Vec<u8> = pieces.into_iter().flat_map(|(_, piece)| piece).collect();
    assert_eq!(whole, *template.expand(&Sample));
    assert!(template.mentions(VariableKind::Host));
    assert!(!template.mentions(VariableKind::Status));
}
