//! The entry for fuzzing.

use crate::{Config, Path, Value, append, delete, locate, parse, print, print_pretty, put};

/// Runs `data` through everything that reads bytes from outside: the parser,
/// the printer, edits at a path, the check. It must return whatever `data` is.
///
/// The first line is taken for a path, the rest for a text; without a line feed
/// all of it is the text.
///
/// # Panics
///
/// When a printed value does not read back as the same value, or an edit or an
/// error does not keep its promise. That is what a fuzzer looks for.
pub fn fuzz_text(data: &[u8]) {
    let mut lines = data.splitn(2, |&byte| byte == b'\n');
    let (target, text) = match (lines.next(), lines.next()) {
        (Some(target), Some(text)) => (target, text),
        _ => (&b""[..], data),
    };
    let value = match parse(text) {
        Ok(value) => value,
        Err(error) => {
            assert!(
                error.location.offset <= text.len(),
                "an error lies outside of the text"
            );
            return;
        }
    };
    reads_back(&value);
    check(&value);

    let Ok(path) = Path::parse(&String::from_utf8_lossy(target)) else {
        return;
    };
    let found = value.at(&path).is_some();
    assert!(
        locate(text, &path).is_some(),
        "a text that parses has no place for its path"
    );
    if let Ok(edited) = put(&value, &path, Value::Null) {
        assert_eq!(
            edited.at(&path),
            Some(&Value::Null),
            "what was put is not there"
        );
        reads_back(&edited);
        check(&edited);
    }
    if let Ok(edited) = append(&value, &path, value.clone()) {
        reads_back(&edited);
    }
    let deleted = delete(&value, &path);
    assert_eq!(deleted.is_ok(), found, "what is there cannot be deleted");
    if let Ok(edited) = deleted {
        reads_back(&edited);
    }
}

fn reads_back(value: &Value) {
    assert_eq!(
        parse(print(value).as_bytes()).as_ref(),
        Ok(value),
        "the short text differs"
    );
    assert_eq!(
        parse(print_pretty(value).as_bytes()).as_ref(),
        Ok(value),
        "the long text differs"
    );
}

fn check(value: &Value) {
    if let Ok(checked) = Config::check(value) {
        for listener in &checked.config.listeners {
            assert!(
                value.at(&listener.path()).is_some(),
                "a listener came from nowhere"
            );
        }
        for application in &checked.config.applications {
            assert!(
                value.at(&application.component_path()).is_some(),
                "no component was named"
            );
        }
    }
}
