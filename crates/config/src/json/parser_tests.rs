//! The parser: values, numbers, escapes, limits, and the places of errors.

use super::*;
use crate::{Position, print};

fn round(text: &str) -> String {
    print(&parse(text.as_bytes()).unwrap())
}

#[track_caller]
fn refused(text: impl AsRef<[u8]>, kind: Kind, at: usize) {
    let error = parse(text.as_ref()).unwrap_err();
    assert_eq!((error.kind, error.location.offset), (kind, at));
}

#[test]
fn every_kind_of_value_is_read_and_numbers_keep_their_text() {
    let text = r#"{"n":null,"b":[true,false],"s":"","i":[0,-0,12,1.50,-2e3,1E+2,1.0e-2],"o":{}}"#;
    assert_eq!(round(text), text);
}

#[test]
fn a_trailing_comma_and_comments_are_read() {
    assert_eq!(
        round("{\"a\": [1, 2,], // one\n /* two * / **/ \"b\": {},\n}"),
        r#"{"a":[1,2],"b":{}}"#
    );
    assert_eq!(round("/* a */ 1 // b\n"), "1");
}

#[test]
fn a_lone_comma_is_no_element() {
    refused("[,]", Kind::Value, 1);
    refused("{,}", Kind::Name, 1);
    refused("[1,,]", Kind::Value, 3);
}

#[test]
fn a_comment_that_does_not_end_is_no_comment() {
    refused("1 // to the end", Kind::Trailing, 2);
    refused("1 /* to the end *", Kind::Trailing, 2);
    refused("1 / 2", Kind::Trailing, 2);
    refused("// only", Kind::Value, 0);
}

#[test]
fn an_empty_text_is_refused_at_its_start() {
    refused("", Kind::Empty, 0);
    refused(" \r\n\t", Kind::Empty, 0);
    refused("// comment\n ", Kind::Empty, 0);
}

#[test]
fn a_byte_order_mark_is_skipped_and_not_counted() {
    assert!(parse(b"\xEF\xBB\xBF{}").is_ok());
    refused(b"\xEF\xBB\xBF!", Kind::Value, 0);
}

#[test]
fn words_are_literals_or_nothing() {
    refused("nul", Kind::Value, 0);
    refused("True", Kind::Value, 0);
    refused("truely", Kind::Trailing, 4);
}

#[test]
fn structure_is_checked_and_located() {
    refused("{", Kind::EndInObject, 1);
    refused(r#"{"a""#, Kind::EndInMember, 4);
    refused(r#"{"a":"#, Kind::EndInMember, 5);
    refused(r#"{"a":1"#, Kind::EndInObject, 6);
    refused(r#"{"a" 1}"#, Kind::Colon, 5);
    refused(r#"{"a":1 "b":2}"#, Kind::ObjectComma, 7);
    refused("{a:1}", Kind::Name, 1);
    refused("[", Kind::EndInArray, 1);
    refused("[1", Kind::EndInArray, 2);
    refused("[1 2]", Kind::ArrayComma, 3);
    refused("{} {}", Kind::Trailing, 3);
}

#[test]
fn a_member_name_may_not_come_twice() {
    refused(r#"{"a":1,"b":2,"\u0061":3}"#, Kind::Duplicate, 13);
}

#[test]
fn numbers_follow_units_rules() {
    refused("1.", Kind::Fraction, 0);
    refused("-1.x", Kind::Fraction, 1);
    refused("1.2.3", Kind::Value, 0);
    refused("01", Kind::LeadingZero, 0);
    refused("-01", Kind::LeadingZero, 1);
    refused("1e", Kind::Exponent, 0);
    refused("1e+", Kind::Exponent, 0);
    refused("-", Kind::Value, 0);
    refused("+1", Kind::Value, 0);
    refused(".5", Kind::Value, 0);
    refused("1x", Kind::Value, 0);
    refused("1:", Kind::Value, 0);
    assert_eq!(round("12345678901234"), "12345678901234");
    refused("123456789012345", Kind::NumberLength, 0);
    assert_eq!(round("9.22337203e18"), "9.22337203e18");
    refused("9.22337204e18", Kind::NumberRange, 0);
    refused("1e999", Kind::NumberRange, 0);
    refused("1e-999", Kind::NumberRange, 0);
    assert_eq!(round("0e-999"), "0e-999");
}

#[test]
fn escapes_become_characters() {
    let value = parse(br#""\"\\\/\n\r\t\b\f\u0000\u00e9\uD83E\uDd80""#).unwrap();
    assert_eq!(value.as_str(), Some("\"\\/\n\r\t\u{8}\u{c}\0é\u{1f980}"));
}

#[test]
fn broken_strings_are_located() {
    refused(r#""abc"#, Kind::EndInString, 4);
    refused(r#""abc\"#, Kind::EndInString, 5);
    refused(r#""\u00"#, Kind::EndInString, 5);
    refused("\"a\nb\"", Kind::Control, 2);
    refused(r#""a\x""#, Kind::Escape, 2);
    refused(r#""\u00g0""#, Kind::UnicodeEscape, 5);
    refused(r#""a\uDC00b""#, Kind::LoneSurrogate, 2);
    refused(r#""a\uD800b""#, Kind::LoneSurrogate, 2);
    refused(r#""a\uD800\u0041""#, Kind::SurrogatePair, 2);
    refused(b"\"ab\xFFc\"", Kind::NotUtf8, 3);
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    refused(nested(MAX_DEPTH + 1), Kind::Depth, MAX_DEPTH);
    refused("[".repeat(1_000_000), Kind::Depth, MAX_DEPTH);
    refused("{\"a\":".repeat(1_000_000), Kind::Depth, 5 * MAX_DEPTH);
}

#[test]
fn the_number_of_elements_is_bounded() {
    let text = |count: usize| format!("[{}]", "0,".repeat(count));
    assert!(parse(text(MAX_ELEMENTS).as_bytes()).is_ok());
    refused(text(MAX_ELEMENTS + 1), Kind::Elements, 1 + 2 * MAX_ELEMENTS);
}

#[test]
fn columns_count_characters_and_lines_count_line_feeds() {
    let error = parse("{\r\n\t\"é\": 1,\n\"日本\" x}".as_bytes()).unwrap_err();
    assert_eq!(
        error.location.position,
        Some(Position { line: 3, column: 6 })
    );
}

#[test]
fn a_comment_may_hold_any_bytes_and_then_there_is_no_column() {
    let error = parse(b"/* \xFF */ !").unwrap_err();
    assert_eq!(
        error.location,
        Location {
            offset: 8,
            position: None
        }
    );
    assert_eq!(parse(b"// \xFF\n 1").unwrap(), Value::from(1));
}

#[test]
fn a_value_is_located_by_its_path_and_a_missing_one_by_its_parent() {
    let text = br#"{"a": [10, {"b": 1}], "c": 2}"#;
    let offset = |path: &[&str]| {
        locate(text, &path.iter().copied().collect())
            .unwrap()
            .offset
    };
    assert_eq!(offset(&[]), 0);
    assert_eq!(offset(&["a", "1", "b"]), 17);
    assert_eq!(offset(&["a", "1", "x", "y"]), 11);
    assert_eq!(offset(&["c"]), 27);
    assert_eq!(locate(b"{", &Path::default()), None);
}
