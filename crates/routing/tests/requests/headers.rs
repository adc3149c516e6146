//! Tests by `headers`.

use routing::{FieldKind, FieldNameError, FieldRule, Match, Test};

use crate::support::{Sample, array, object, one_object};

fn header(members: &[(&str, &[&str])], name: &str, values: &[&str]) -> bool {
    let sample = Sample::get("/").with(name, values);
    sample.matches(&one_object(FieldKind::Header, members))
}

#[test]
fn all_values_of_a_field_have_to_match_and_at_least_one_has_to_exist() {
    let test: &[(&str, &[&str])] = &[("x-blah", &["test"])];
    assert!(header(test, "X-Blah", &["test", "test", "test"]));
    assert!(!header(test, "X-Blah", &["test", "blah", "test"]));
    assert!(!header(test, "X-Blah", &["test", "", "test"]));
    assert!(!header(test, "X-Other", &["test"]));

    let either: &[(&str, &[&str])] = &[("x-blah", &["test", "blah"])];
    assert!(header(either, "X-Blah", &["test", "blah", "test"]));
    assert!(!header(either, "X-Blah", &["blah", ""]));

    // What is not there does not match what it must not be.
    let not: &[(&str, &[&str])] = &[("x-blah", &["!test"])];
    assert!(header(not, "X-Blah", &["blah"]));
    assert!(!header(not, "X-Blah", &["test"]));
    assert!(!header(not, "X-Other", &["blah"]));
}

#[test]
fn all_members_of_an_object_have_to_match() {
    let both: &[(&str, &[&str])] = &[("host", &["localhost"]), ("x-blah", &["test"])];
    let sample = |value| {
        Sample::get("/")
            .with("Host", &["localhost"])
            .with("X-Blah", value)
    };
    let tests = one_object(FieldKind::Header, both);
    assert!(sample(&["test"]).matches(&tests));
    assert!(!sample(&[""]).matches(&tests));
    assert!(!sample(&[]).matches(&tests));
}

#[test]
fn header_names_and_values_are_compared_without_case() {
    for pattern in ["TEST", "te*", "*ST", "*ES*"] {
        assert!(
            header(&[("X-BLAH", &[pattern])], "x-blah", &["tEst"]),
            "{pattern}"
        );
    }
    // It does in regular expressions, in Unit, too.
    assert!(!header(&[("x-blah", &["~test"])], "x-blah", &["TEST"]));
    // Nothing is decoded.
    assert!(header(&[("x-blah", &["%zz"])], "x-blah", &["%ZZ"]));
}

#[test]
fn an_empty_pattern_differs_from_an_empty_array() {
    assert!(header(&[("host", &[""])], "Host", &[""]));
    assert!(!header(&[("host", &[""])], "Host", &["localhost"]));
    assert!(header(&[("blah", &[])], "Blah", &["foo"]));
    assert!(!header(&[("blah", &[])], "Host", &["foo"]));
    assert!(header(&[], "Host", &["foo"]));
    assert!(Sample::get("/").matches(&Match::new([Test::Fields(Vec::new())])));
}

#[test]
fn one_of_an_array_of_objects_is_enough() {
    let tests = array(FieldKind::Header);
    let with = |name, value| Sample::get("/").with(name, &[value]);
    assert!(!Sample::get("/").matches(&tests));
    assert!(with("Var-A", "val123").matches(&tests));
    assert!(with("Var-B", "val2").matches(&tests));
    assert!(with("Var-C", "bar").matches(&tests));
    assert!(!with("Var-A", "bar").matches(&tests));
    assert!(with("Var-A", "bar").with("Var-D", &["foo"]).matches(&tests));

    let agents = Match::new([Test::Fields(vec![
        object(
            FieldKind::Header,
            &[
                ("Accept-Encoding", &["*gzip*"]),
                ("User-Agent", &["Mozilla/5.0*"]),
            ],
        ),
        object(FieldKind::Header, &[("User-Agent", &["curl*"])]),
    ])]);
    assert!(with("user-agent", "curl/8.0").matches(&agents));
    assert!(!with("user-agent", "Mozilla/5.0 (X11)").matches(&agents));
    let browser = with("user-agent", "Mozilla/5.0 (X11)");
    assert!(
        browser
            .with("accept-encoding", &["br, gzip"])
            .matches(&agents)
    );
}

#[test]
fn an_invalid_field_name_never_matches() {
    assert!(!header(&[("a b", &["*"])], "a", &["b"]));
    assert_eq!(
        FieldRule::parse(FieldKind::Header, ""),
        Err(FieldNameError::Empty)
    );
}
