//! Tests by `arguments`: percent-decoding, negation, several values.

use routing::{FieldKind, FieldNameError, FieldRule, PatternErrorKind};

use crate::support::{Sample, array, one_object};

fn argument(members: &[(&str, &[&str])], query: &str) -> bool {
    let sample = Sample::get(format!("/?{query}"));
    sample.matches(&one_object(FieldKind::Argument, members))
}

/// One name with one pattern: queries that match, and queries that do not.
fn check(name: &str, pattern: &str, yes: &[&str], no: &[&str]) {
    for query in yes {
        assert!(
            argument(&[(name, &[pattern])], query),
            "{name}={pattern}: {query}"
        );
    }
    for query in no {
        assert!(
            !argument(&[(name, &[pattern])], query),
            "{name}={pattern}: {query}"
        );
    }
}

#[test]
fn case_counts_in_names_and_in_values() {
    let no = ["", "foo=bar1", "1foo=bar", "Foo=bar", "foo=Bar", "bar=foo"];
    check("foo", "bar", &["foo=bar", "a=b&foo=bar"], &no);
}

#[test]
fn arguments_are_percent_decoded_on_both_sides() {
    check(
        "Ю",
        "н",
        &["%D0%AE=%D0%BD", "%d0%ae=%d0%Bd", "Ю=н"],
        &["Ю=н "],
    );
    let spaces = [
        " fo o = b a r&",
        "+fo+o+=+b+a+r&",
        "%20fo%20o%20=%20b%20a%20r&",
    ];
    check("+fo o%20", "%20b+a r", &spaces, &[]);
    check("%25", "%25", &["%=%", "%25=%25", "%25=%"], &["%=%2525"]);
    check("%251", "%252", &["%1=%2", "%251=%252", "%251=%2"], &[]);
    check(
        "%25%21%251",
        "%25%24%252",
        &["%!%1=%$%2", "%25!%1=%$%2"],
        &[],
    );
    check("&", "", &["%26=", "%26=&"], &["%26=%26", "&="]);
    check(
        "foo",
        "&",
        &["foo=%26", "foo=%26&"],
        &["foo=%26%26", "foo=&"],
    );

    let plain = " !\"%23$%25%26'()*%2B,-./0123456789:;<%3D>?@ABCXYZ[\\]^_`abcxyz{|}~";
    let encoded: String = (" !\"#$%&'()*+,-./0123456789:;<=>?@ABCXYZ[\\]^_`abcxyz{|}~")
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    for name in [plain, &encoded] {
        for query in [plain, &encoded] {
            check(name, &encoded, &[&format!("{query}={query}")], &[]);
        }
    }
}

#[test]
fn the_first_equals_sign_separates_name_and_value() {
    let no = ["===", "%3D%3D%3D", "==%3D"];
    check("=", "=", &["%3D=%3D", "%3D=="], &no);
    check("a", "b=c", &["a=b=c", "a=b%3Dc"], &["a=b"]);
    // An argument without a name cannot be asked for, and is no other one.
    check("foo", "*", &["=foo&foo"], &["=foo"]);
}

#[test]
fn a_fragment_is_not_part_of_the_query() {
    let no = ["#=#", "%23=#"];
    check("#", "#", &["%23=%23", "%23=%23#"], &no);
}

#[test]
fn a_percent_encoded_asterisk_is_not_a_wildcard() {
    check("foo", "*", &["foo", "foo=", "foo=blah"], &["blah=foo"]);
    check("foo", "%25*", &["foo=%xx"], &["foo=xx"]);
    check("foo", "%2A*", &["foo=*xx"], &["foo=xx"]);
    check("foo", "*%2A", &["foo=xx*"], &["foo=xx*x"]);
    check(
        "foo",
        "1*2",
        &["foo=12", "foo=1blah2", "foo=1%2A2"],
        &["foo=x12"],
    );
    check("word", "*%C3*", &["word=Ö", "word=a%C3"], &["word=O"]);
    let both: &[(&str, &[&str])] = &[("foo", &["bar*"]), ("%25", &["%25"])];
    assert!(argument(both, "foo=barxx&%=%"));
    assert!(!argument(both, "foo=barxx&x%=%"));
}

#[test]
fn a_negated_pattern_needs_the_argument_to_exist() {
    check("foo", "!", &["foo=%25"], &["bar", "foo", "foo="]);
    check("foo", "!*", &[], &["bar", "foo", "foo=", "foo=blah"]);
    check("foo", "!%25", &["foo=blah"], &["foo=%"]);
    check(
        "foo",
        "%21blah",
        &["foo=%21blah", "foo=!blah"],
        &["foo=bar"],
    );
    let no = ["foo=!!a", "foo=!!bla"];
    check("foo", "!!%21*a", &["foo=blah", "foo=!blah"], &no);
    let strict: &[(&str, &[&str])] = &[("mode", &["strict"]), ("access", &["!full"])];
    assert!(argument(strict, "mode=strict&access=read"));
    assert!(!argument(strict, "mode=strict&access=full"));
    assert!(!argument(strict, "mode=strict"));
}

#[test]
fn all_arguments_of_a_name_have_to_match() {
    let yes = [
        "foo",
        "blah=blah&foo=",
        "&&&foo&&&",
        "foo=&foo",
        "&=&foo&==&",
    ];
    check("foo", "", &yes, &["foo&foo=bar&foo", "&=&bar&==&"]);
    check("key", "*", &["key=4861&key=a4f3"], &[]);
    check("key", "a*", &["key=a1&key=a4f3"], &["key=4861&key=a4f3"]);

    let both: &[(&str, &[&str])] = &[("foo", &["bar"]), ("blah", &["test"])];
    assert!(argument(both, "foo=bar&blah=test"));
    assert!(argument(both, "blah=test&foo=bar"));
    assert!(argument(both, "foo=b%61r&bl%61h=t%65st"));
    for query in ["", "foo=bar&blah", "foo=bar&blah=tes"] {
        assert!(!argument(both, query), "{query}");
    }
    let either: &[(&str, &[&str])] = &[("foo", &["bar", "blah"])];
    assert!(argument(either, "foo=blah&foo=bar&foo=blah"));
    assert!(!argument(either, "foo=blah&foo=bar&foo="));
}

#[test]
fn one_of_an_array_of_objects_is_enough() {
    let tests = array(FieldKind::Argument);
    for (query, wanted) in [
        ("", false),
        ("var-a=val123", true),
        ("var-b=val2", true),
        ("var-c=bar", true),
        ("var-a=bar", false),
        ("var-a=bar&var-d=foo", true),
    ] {
        assert_eq!(
            Sample::get(format!("/?{query}")).matches(&tests),
            wanted,
            "{query}"
        );
    }
}

#[test]
fn invalid_percent_encoding_in_names_and_patterns_is_refused() {
    for name in ["%", "%%1F", "%7%F", "%1"] {
        let error = FieldRule::parse(FieldKind::Argument, name).unwrap_err();
        assert_eq!(error, FieldNameError::PercentEncoding(name.to_owned()));
        FieldRule::parse(FieldKind::Cookie, name).unwrap();
    }
    for pattern in ["%", "%1G", "%0", "%%1F"] {
        let mut rule = FieldRule::parse(FieldKind::Argument, "foo").unwrap();
        let error = rule.push(pattern).unwrap_err();
        assert_eq!(error.kind, PatternErrorKind::PercentEncoding, "{pattern}");
    }
    assert_eq!(
        FieldRule::parse(FieldKind::Argument, ""),
        Err(FieldNameError::Empty)
    );
}
