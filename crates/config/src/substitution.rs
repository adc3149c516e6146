//! Expressions in strings: `${env:NAME}`, `${env:NAME:-default}` and `${file:/path}`.
//!
//! What they stand for may be secret. So the tree with the expressions is what is shown and kept, and the tree with
//! their values is only checked and put in force. [`Values::conceal`] keeps values out of messages.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use thiserror::Error;
use untrusted_text::excerpt;

use crate::{Object, Path, Value};

/// Maximum size of the value of one expression, in bytes.
pub const MAX_VALUE: usize = 64 << 10;

/// Maximum size of the values in a tree together, in bytes. A value counts wherever it is inserted.
pub const MAX_VALUES: usize = 16 << 20;

/// Maximum number of expressions in a tree.
pub const MAX_EXPRESSIONS: usize = 10_000;

/// What an expression asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expression<'a> {
    /// `${env:NAME}` or `${env:NAME:-default}`: an environment variable of the server.
    Variable {
        /// Its name.
        name: &'a str,
        /// What stands for it where it is unset or empty.
        default: Option<&'a str>,
    },
    /// `${file:/path}`: the content of a file.
    File {
        /// Its absolute path.
        path: &'a str,
    },
}

/// An expression that cannot be replaced.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{detail} (at \"{path}\")")]
pub struct SubstitutionError {
    /// The reason, as a sentence without any value.
    pub detail: String,
    /// The path of the string.
    pub path: Path,
}

/// The values of a tree's expressions, which are kept out of messages.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// The value of each expression. Each is asked for once, so that all parts of a tree have the same one.
    values: BTreeMap<String, String>,
    /// The strings with expressions, and these.
    places: BTreeMap<Vec<String>, Vec<String>>,
}

/// Whether a string of the tree has an expression. Faster than [`substitute`].
#[must_use]
pub fn has_expressions(tree: &Value) -> bool {
    match tree {
        Value::String(text) => find(text).is_some(),
        Value::Array(elements) => elements.iter().any(has_expressions),
        Value::Object(object) => object.iter().any(|(_, value)| has_expressions(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A copy of the tree in which each expression in a string is replaced by what `value_of` returns for it. A value is
/// not searched for expressions itself, nor are the names of members.
///
/// # Errors
///
/// The first expression that is malformed, or for which `value_of` returns an error: a sentence that says why. Values
/// that are larger than [`MAX_VALUE`], or than [`MAX_VALUES`] together, are errors, too, and so are more than
/// [`MAX_EXPRESSIONS`].
pub fn substitute(
    tree: &Value,
    value_of: impl FnMut(Expression<'_>) -> Result<String, String>,
) -> Result<(Value, Values), SubstitutionError> {
    let mut substitution = Substitution {
        value_of,
        path: Path::default(),
        count: 0,
        size: 0,
        values: Values::default(),
    };
    let tree = substitution.value(tree)?;
    Ok((tree, substitution.values))
}

struct Substitution<F> {
    value_of: F,
    path: Path,
    count: usize,
    size: usize,
    values: Values,
}

impl<F: FnMut(Expression<'_>) -> Result<String, String>> Substitution<F> {
    fn value(&mut self, value: &Value) -> Result<Value, SubstitutionError> {
        Ok(match value {
            Value::String(text) => Value::String(self.text(text)?),
            Value::Array(elements) => {
                let elements = elements.iter().enumerate();
                let elements = elements.map(|(index, it)| self.at(&index.to_string(), it));
                Value::Array(elements.collect::<Result<_, _>>()?)
            }
            Value::Object(object) => {
                let members = object.iter().map(|(name, it)| {
                    let value = self.at(name, it)?;
                    Ok((name.to_owned(), value))
                });
                Object::from_unique(members.collect::<Result<_, _>>()?).into()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }

    fn at(&mut self, segment: &str, value: &Value) -> Result<Value, SubstitutionError> {
        self.path.push(segment);
        let value = self.value(value)?;
        self.path.pop();
        Ok(value)
    }

    fn text(&mut self, text: &str) -> Result<String, SubstitutionError> {
        let (mut rest, mut replaced, mut found) = (text, String::new(), Vec::new());
        while let Some(start) = find(rest) {
            replaced.push_str(&rest[..start]);
            rest = &rest[start..];
            let Some(end) = rest.find('}') else {
                return Err(self.error("An expression that begins with ${ has no closing }."));
            };
            let (expression, after) = rest.split_at(end + 1);
            replaced.push_str(&self.value_of(expression)?);
            if !found.iter().any(|it| it == expression) {
                found.push(expression.to_owned());
            }
            rest = after;
        }
        replaced.push_str(rest);
        if !found.is_empty() {
            let path = self.path.segments().to_vec();
            self.values.places.insert(path, found);
        }
        Ok(replaced)
    }

    /// The value of an expression, which counts once more.
    fn value_of(&mut self, expression: &str) -> Result<String, SubstitutionError> {
        let value = match self.values.values.get(expression) {
            Some(value) => value.clone(),
            None => {
                let value = parse(expression).and_then(|expression| (self.value_of)(expression));
                let value = value.map_err(|detail| self.error(detail))?;
                let values = &mut self.values.values;
                values.insert(expression.to_owned(), value.clone());
                value
            }
        };
        if value.len() > MAX_VALUE {
            return Err(self.error(format!(
                "The value of {expression} is larger than {MAX_VALUE} bytes."
            )));
        }
        self.count += 1;
        if self.count > MAX_EXPRESSIONS {
            return Err(self.error(format!(
                "There are more than {MAX_EXPRESSIONS} expressions."
            )));
        }
        self.size += value.len();
        if self.size > MAX_VALUES {
            return Err(self.error(format!(
                "The values of all expressions are larger than {MAX_VALUES} bytes together."
            )));
        }
        Ok(value)
    }

    fn error(&self, detail: impl Into<String>) -> SubstitutionError {
        SubstitutionError {
            detail: detail.into(),
            path: self.path.clone(),
        }
    }
}

/// Where the first expression starts.
fn find(text: &str) -> Option<usize> {
    let starts = ["${env:", "${file:"];
    starts.iter().filter_map(|start| text.find(start)).min()
}

/// The expression, which starts with one of the above and ends with `}`.
fn parse(text: &str) -> Result<Expression<'_>, String> {
    let inner = text.trim_start_matches("${").trim_end_matches('}');
    if let Some(variable) = inner.strip_prefix("env:") {
        let (name, default) = match variable.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (variable, None),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty()
            || name.starts_with(|it: char| it.is_ascii_digit())
            || !name.bytes().all(is_name)
        {
            return Err(format!(
                "\"{}\" is not the name of an environment variable.",
                excerpt(name)
            ));
        }
        return Ok(Expression::Variable { name, default });
    }
    let path = inner.strip_prefix("file:").unwrap_or_default();
    if !path.starts_with('/') || path.contains('\0') {
        return Err(format!(
            "\"{}\" is not the absolute path of a file.",
            excerpt(path)
        ));
    }
    Ok(Expression::File { path })
}

impl Values {
    /// Whether there was no expression.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A message about the value at `path`, without any of the values in it: an expression stands for its value. A
    /// message that might have a part of a value is replaced by one that says only which expressions it is about.
    ///
    /// In a message about a string with expressions, 4 bytes of a value are such a part. So is a quoted text that has
    /// no expression in it and is not the name of a member: it may end with a byte of a value. In other messages, where
    /// a text may have something in common with a value by accident, it is 8 bytes.
    #[must_use]
    pub fn conceal<'a>(&self, message: &'a str, path: Option<&Path>) -> Cow<'a, str> {
        let subject = path.and_then(|path| self.places.get(path.segments()));
        let subject = subject.map(Vec::as_slice).unwrap_or_default();
        let is_subject = |expression: &String| subject.contains(expression);
        let recognized = |expression: &String| if is_subject(expression) { 4 } else { 8 };
        // The longest first, since one value may be a part of another.
        let mut all: Vec<_> = self.values.iter().collect();
        all.retain(|(_, value)| !value.is_empty());
        all.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        let mut shown = Cow::Borrowed(message);
        for (expression, value) in &all {
            let is_long = value.len() >= recognized(expression).min(6);
            if is_long && shown.contains(value.as_str()) {
                shown = shown.replace(value.as_str(), expression).into();
            }
        }
        let quotes_part = !subject.is_empty() && {
            let names = path.map(Path::segments).unwrap_or_default();
            let is_known = |quoted: &str| {
                names.iter().any(|name| *name == *quoted)
                    || subject.iter().any(|expression| quoted.contains(expression))
            };
            // Outside and inside of quotes in turn.
            !shown.split('"').skip(1).step_by(2).all(is_known)
        };
        let parts = [4, 8].map(|length| windows(&shown, length));
        let has_part = |expression: &String, value: &str| {
            let length = recognized(expression);
            if value.len() < length {
                // Too short to be recognized, except as a whole.
                return is_subject(expression) && shown.contains(value);
            }
            let parts = if length == 4 { &parts[0] } else { &parts[1] };
            value
                .as_bytes()
                .windows(length)
                .any(|it| parts.contains(it))
        };
        let suspects = all.iter().filter(|(expression, value)| {
            quotes_part && is_subject(expression) || has_part(expression, value)
        });
        let mut expressions: Vec<_> = suspects
            .map(|(expression, _)| expression.as_str())
            .collect();
        if expressions.is_empty() {
            return shown;
        }
        expressions.sort_unstable();
        expressions.truncate(MAX_NAMED);
        let expressions = expressions.join(", ");
        format!("This is not valid with the value of {expressions}, which is not shown.").into()
    }
}

/// How many expressions a message names.
const MAX_NAMED: usize = 5;

/// All pieces of a text that have this length in bytes.
fn windows(text: &str, length: usize) -> HashSet<&[u8]> {
    text.as_bytes().windows(length).collect()
}

impl std::fmt::Debug for Values {
    /// Without the values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(expression: Expression<'_>) -> Result<String, String> {
        match expression {
            Expression::Variable { name: "A", .. } => Ok("value of a".to_owned()),
            Expression::Variable { name: "SHORT", .. } => Ok("xy".to_owned()),
            Expression::Variable { name: "NESTED", .. } => Ok("${env:A}".to_owned()),
            Expression::Variable { default, name } => default
                .map(str::to_owned)
                .ok_or_else(|| format!("{name} is not set.")),
            Expression::File { path } => Ok(format!("content of {path}")),
        }
    }

    fn tree(text: &str) -> Value {
        config::parse(text.as_bytes()).unwrap()
    }

    use crate as config;

    #[test]
    fn expressions_are_replaced_in_strings_at_any_depth() {
        for (text, expected) in [
            (
                r#"{"a":["${env:A}",1,true,null]}"#,
                r#"{"a":["value of a",1,true,null]}"#,
            ),
            (
                r#""-${env:A}-${file:/f}-""#,
                r#""-value of a-content of /f-""#,
            ),
            (r#""${env:B:-}""#, r#""""#),
            (r#""${env:B:-a:-b}""#, r#""a:-b""#),
            // Unit's variables are not expressions.
            (
                r#""/www/$uri${host}${envA}""#,
                r#""/www/$uri${host}${envA}""#,
            ),
            // Neither are names, nor what a value has.
            (r#"{"${env:A}":1}"#, r#"{"${env:A}":1}"#),
            (r#""${env:NESTED}""#, r#""${env:A}""#),
        ] {
            let tree = tree(text);
            let (replaced, values) = substitute(&tree, value_of).unwrap();
            assert_eq!(config::print(&replaced), expected);
            assert_eq!(values.is_empty(), !has_expressions(&tree), "{text}");
        }
    }

    #[test]
    fn an_expression_that_cannot_be_replaced_is_named_with_its_path() {
        for (text, detail) in [
            ("${env:B}", "B is not set."),
            (
                "${env:A",
                "An expression that begins with ${ has no closing }.",
            ),
            (
                "${env:}",
                "\"\" is not the name of an environment variable.",
            ),
            (
                "${env:A B}",
                "\"A B\" is not the name of an environment variable.",
            ),
            (
                "${env:1A}",
                "\"1A\" is not the name of an environment variable.",
            ),
            ("${file:a}", "\"a\" is not the absolute path of a file."),
            ("${file:}", "\"\" is not the absolute path of a file."),
        ] {
            let tree: Value = [("a", Value::Array(vec![text.into()]))]
                .into_iter()
                .collect();
            let error = substitute(&tree, value_of).unwrap_err();
            assert_eq!(error.detail, detail);
            assert_eq!(error.path.to_string(), "/a/0");
        }
    }

    #[test]
    fn the_size_of_values_is_limited() {
        let value = |size| move |_: Expression<'_>| Ok("x".repeat(size));
        let one = tree(r#""${env:A}""#);
        assert!(substitute(&one, value(MAX_VALUE)).is_ok());
        assert!(substitute(&one, value(MAX_VALUE + 1)).is_err());
        let empty = |_: Expression<'_>| Ok(String::new());
        let many = |count| Value::String("${env:A}".repeat(count));
        assert!(substitute(&many(MAX_EXPRESSIONS), empty).is_ok());
        assert!(substitute(&many(MAX_EXPRESSIONS + 1), empty).is_err());
        let most = MAX_VALUES / MAX_VALUE;
        assert!(substitute(&many(most), value(MAX_VALUE)).is_ok());
        assert!(substitute(&many(most + 1), value(MAX_VALUE)).is_err());
    }

    #[test]
    fn each_expression_is_asked_for_once() {
        let mut count = 0;
        let next = |_: Expression<'_>| {
            count += 1;
            Ok(count.to_string())
        };
        let tree = tree(r#"["${env:A}", "${env:B}", "${env:A}"]"#);
        let (replaced, _) = substitute(&tree, next).unwrap();
        assert_eq!(config::print(&replaced), r#"["1","2","1"]"#);
    }

    const CONCEALED_A: &str = "This is not valid with the value of ${env:A}, which is not shown.";
    const CONCEALED_SHORT: &str =
        "This is not valid with the value of ${env:SHORT}, which is not shown.";

    #[test]
    fn a_message_has_no_part_of_a_value() {
        let tree = tree(r#"{"a": "${env:A}", "b": {"c": "${env:SHORT}"}}"#);
        let (_, values) = substitute(&tree, value_of).unwrap();
        let path = |text: &str| Path::parse(text).unwrap();
        for (message, at, expected) in [
            ("Nothing in common.", "/a", "Nothing in common."),
            ("No \"value of a\".", "/x", "No \"${env:A}\"."),
            ("No \"value of…\".", "/x", CONCEALED_A),
            ("No \"lue of…\".", "/x", "No \"lue of…\"."),
            ("No \"lue of…\".", "/a", CONCEALED_A),
            ("No \"xy\".", "/b/c", CONCEALED_SHORT),
            // What stands before the value, with a byte of it.
            ("No \"hostv\".", "/a", CONCEALED_A),
            (
                "The \"a\" is \"value of a\".",
                "/a",
                "The \"a\" is \"${env:A}\".",
            ),
            // Too short to be recognized, and not about it.
            ("A galaxy.", "/x", "A galaxy."),
        ] {
            let shown = values.conceal(message, Some(&path(at)));
            assert_eq!(shown, expected, "{at}");
        }
        assert_eq!(values.conceal("A galaxy.", None), "A galaxy.");
        assert!(!format!("{values:?}").contains("value of a"));
    }
}
