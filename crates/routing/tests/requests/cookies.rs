//! Tests by `cookies`.

use routing::FieldKind;

use crate::support::{Sample, array, one_object};

fn cookie(members: &[(&str, &[&str])], fields: &[&str]) -> bool {
    let sample = Sample::get("/").with("Cookie", fields);
    sample.matches(&one_object(FieldKind::Cookie, members))
}

#[test]
fn case_counts_in_names_and_in_values() {
    for (fields, wanted) in [
        (&["foO=bar"][..], true),
        (&["foO=bar;1"], true),
        (&["foO=bar", "blah=blah"], true),
        (&["foO=bar; blah=blah"], true),
        (&["Foo=bar"], false),
        (&["foO=Bar"], false),
        (&["foO=bar1"], false),
        (&["1foO=bar;"], false),
        (&[], false),
    ] {
        assert_eq!(cookie(&[("foO", &["bar"])], fields), wanted, "{fields:?}");
    }
}

#[test]
fn the_first_equals_sign_separates_and_surrounding_spaces_are_removed() {
    for (fields, wanted) in [
        ("foo=bar=baz", true),
        ("   foo=bar=baz   ", true),
        ("a=b;   foo=bar=baz   ;c", true),
        ("=foo=bar=baz", false),
        ("foo= bar=baz", false),
        ("foo =bar=baz", false),
    ] {
        assert_eq!(
            cookie(&[("foo", &["bar=baz"])], &[fields]),
            wanted,
            "{fields}"
        );
    }
    for (fields, wanted) in [
        ("foo=", true),
        ("foo=;", true),
        ("  foo=;", true),
        ("foo=  ", true),
        ("foo", false),
        ("", false),
        ("=", false),
    ] {
        assert_eq!(cookie(&[("foo", &[""])], &[fields]), wanted, "{fields}");
    }
    // Nothing is decoded.
    assert!(cookie(&[("%", &["%zz+"])], &["%=%zz+"]));
}

#[test]
fn all_cookies_of_a_name_have_to_match() {
    let both: &[(&str, &[&str])] = &[("foo", &["bar"]), ("blah", &["blah"])];
    for (fields, wanted) in [
        (&["foo=bar; blah=blah"][..], true),
        (&["foo=bar", "blah=blah"], true),
        (&["foo=bar; blah", "blah"], false),
        (&["foo=bar; blah=test", "blah=blah"], false),
    ] {
        assert_eq!(cookie(both, fields), wanted, "{fields:?}");
    }
    for (fields, wanted) in [
        (&["blah=blah", "blah=blah", "blah=blah"][..], true),
        (&["blah=blah", "blah=test", "blah=blah"], false),
        (&["blah=blah; blah=", "blah=blah"], false),
    ] {
        assert_eq!(cookie(&[("blah", &["blah"])], fields), wanted, "{fields:?}");
    }
    for fields in [
        &["blah=blah", "blah=test", "blah=blah"][..],
        &["blah=blah; blah=test", "blah=blah"],
        // Malformed cookies do not affect others.
        &["blah=blah", "blah"],
    ] {
        assert!(cookie(&[("blah", &["test", "blah"])], fields), "{fields:?}");
    }
}

#[test]
fn one_of_an_array_of_objects_is_enough() {
    let tests = array(FieldKind::Cookie);
    for (fields, wanted) in [
        (&[][..], false),
        (&["var-a=val123"], true),
        (&["var-b=val2"], true),
        (&[" var-b=val2 "], true),
        (&["var-c=bar;"], true),
        (&["var-a=bar"], false),
        (&["var-a=bar; var-d=foo;"], true),
        (&["var-a=bar", "var-d=foo"], true),
    ] {
        let sample = Sample::get("/").with("Cookie", fields);
        assert_eq!(sample.matches(&tests), wanted, "{fields:?}");
    }
}
