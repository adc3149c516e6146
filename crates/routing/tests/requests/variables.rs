//! The variables that a request has values for.

use routing::{Endpoint, Template, VariableSet};

use crate::support::Sample;

fn expand(text: &str, sample: &Sample) -> String {
    let template = Template::parse(text, VariableSet::ALL).unwrap();
    sample.ask(|request| String::from_utf8(template.expand(request).into_owned()).unwrap())
}

#[test]
fn a_request_knows_its_own_variables() {
    for (text, target, wanted) in [
        ("$method", "/", "GET"),
        ("$host", "/", "localhost"),
        ("$uri", "/5%2A", "/5*"),
        ("$uri", "/9?q#a", "/9"),
        ("$request_uri", "/9?q#a", "/9?q#a"),
        ("$request_uri", "/a/../4%2A", "/a/../4%2A"),
        (
            "$remote_addr $uri",
            "/blah%25blah?a",
            "127.0.0.1 /blah%blah",
        ),
    ] {
        assert_eq!(expand(text, &Sample::get(target)), wanted, "{text}");
    }
    let from = |source| Sample {
        source,
        ..Sample::get("/")
    };
    let v6 = Endpoint::Ip("[::1]:9".parse().unwrap());
    assert_eq!(expand("$remote_addr", &from(v6)), "::1");
    assert_eq!(expand("$remote_addr", &from(Endpoint::Unix)), "unix:");
}

#[test]
fn of_several_arguments_the_last_one_counts() {
    for (query, wanted) in [
        ("foo_bar=1", "1"),
        ("foo_b%61r=2", "2"),
        ("bar&foo_bar=3&foo", "3"),
        ("foo_bar=l&foo_bar=4", "4"),
        ("foo_bar=a%2Bb+c%zz", "a+b c%zz"),
        ("", ""),
        ("foo_bar=", ""),
        ("foo_bar", ""),
        ("Foo_bar=0", ""),
        ("foo-bar=0", ""),
    ] {
        let sample = Sample::get(format!("/?{query}"));
        assert_eq!(expand("$arg_foo_bar", &sample), wanted, "{query}");
    }
}

#[test]
fn of_several_fields_and_cookies_the_first_one_counts() {
    let sample = Sample::get("/").with("Foo-Bar", &["1", "2"]);
    for text in ["$header_foo_bar", "$header_Foo_Bar"] {
        assert_eq!(expand(text, &sample), "1");
        for other in ["foo_bar", "foobar"] {
            assert_eq!(expand(text, &Sample::get("/").with(other, &["0"])), "");
        }
    }
    let sample = Sample::get("/").with("Cookie", &["a=b; foo_bar=1", "foo_bar=2"]);
    assert_eq!(expand("$cookie_foo_bar", &sample), "1");
    for other in ["fOo_bar=0", "foo_bar="] {
        assert_eq!(
            expand(
                "$cookie_foo_bar",
                &Sample::get("/").with("Cookie", &[other])
            ),
            ""
        );
    }
}

#[test]
fn variables_of_the_response_have_no_value() {
    let text = "$status$time_local$request_id$request_line$request_time$body_bytes_sent";
    assert_eq!(expand(text, &Sample::get("/")), "");
}
