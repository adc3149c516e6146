//! What is sent as `Location`.

use routing::encode_location;

#[test]
fn bytes_that_a_uri_must_not_contain_are_percent_encoded() {
    let unreserved = "ABCXYZabcxyz0189-._~";
    for (location, wanted) in [
        ("", ""),
        (":/?#[]@!&'()*+,;=", ":/?#[]@!&'()*+,;="),
        ("https://example.com/a?b=c#d", "https://example.com/a?b=c#d"),
        (unreserved, unreserved),
        (" \"%<>\\^`{|}", "%20%22%25%3C%3E%5C%5E%60%7B%7C%7D"),
        ("?a b", "?a%20b"),
        ("#a b", "#a%20b"),
        ("\0\u{18}\u{1f} !", "%00%18%1F%20!"),
        ("a?\0\0", "a?%00%00"),
        ("a#\0", "a#%00"),
        ("\u{7f}\u{80}н\u{20bd}", "%7F%C2%80%D0%BD%E2%82%BD"),
    ] {
        let encoded = encode_location(location.as_bytes());
        assert_eq!(encoded, wanted.as_bytes(), "{location:?}");
    }
}

#[test]
fn the_first_of_each_delimiter_stays_and_others_are_percent_encoded() {
    for (location, wanted) in [
        ("/?:/?#[]", "/?:/%3F#[]"),
        ("???", "?%3F%3F"),
        ("/#:/?#[]", "/#:/%3F%23[]"),
        ("##?#?", "#%23%3F%23%3F"),
        ("/?#:/?#[]", "/?#:/%3F%23[]"),
        ("??##", "?%3F#%23"),
        ("/?##?", "/?#%23%3F"),
    ] {
        let encoded = encode_location(location.as_bytes());
        assert_eq!(encoded, wanted.as_bytes(), "{location}");
    }
}

#[test]
fn a_valid_uri_is_not_changed_and_any_other_text_is_percent_encoded_as_a_whole() {
    for (location, wanted) in [
        ("%20", "%20"),
        ("/%20?%20#%20", "/%20?%20#%20"),
        (" %20", "%20%2520"),
        ("%20 ", "%2520%20"),
        ("/%20?%20#%20 ", "/%2520?%2520#%2520%20"),
        ("%2", "%252"),
        ("%", "%25"),
        ("%zz", "%25zz"),
    ] {
        let encoded = encode_location(location.as_bytes());
        assert_eq!(encoded, wanted.as_bytes(), "{location}");
    }
}
