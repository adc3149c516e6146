//! Expressions in strings: `${env:NAME}`, `${env:NAME:-default}` and `${file:/path}`.
//!
//! What they stand for may be secret. So the tree with the expressions is what is shown and kept, and the tree with
//! their values is only checked and put in force. [`Values::conceal`] keeps values out of messages.

use std::borrow::Cow;

use thiserror::Error;
use untrusted_text::excerpt;

use crate::{Object, Path, Value};

/// Maximum size of the value of one expression, in bytes.
pub const MAX_VALUE: usize = 64 << 10;

/// Maximum size of the values of all expressions of a tree together, in bytes.
pub const MAX_VALUES: usize = 16 << 20;

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

/// The values of a tree's expressions, with the expressions.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values(Vec<Replaced>);

#[derive(Clone, PartialEq, Eq)]
struct Replaced {
    /// The path of its string.
    path: Path,
    expression: String,
    value: String,
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
/// that are larger than [`MAX_VALUE`], or than [`MAX_VALUES`] together, are errors, too.
pub fn substitute(
    tree: &Value,
    value_of: impl FnMut(Expression<'_>) -> Result<String, String>,
) -> Result<(Value, Values), SubstitutionError> {
    let mut substitution = Substitution {
        value_of,
        path: Path::default(),
        size: 0,
        values: Values::default(),
    };
    let tree = substitution.value(tree)?;
    Ok((tree, substitution.values))
}

struct Substitution<F> {
    value_of: F,
    path: Path,
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
        let (mut rest, mut replaced) = (text, String::new());
        while let Some(start) = find(rest) {
            replaced.push_str(&rest[..start]);
            rest = &rest[start..];
            let Some(end) = rest.find('}') else {
                return Err(self.error("An expression that begins with ${ has no closing }."));
            };
            let (expression, after) = rest.split_at(end + 1);
            let value = parse(expression).and_then(|expression| (self.value_of)(expression));
            let value = value.map_err(|detail| self.error(detail))?;
            self.count(expression, &value)?;
            replaced.push_str(&value);
            self.values.0.push(Replaced {
                path: self.path.clone(),
                expression: expression.to_owned(),
                value,
            });
            rest = after;
        }
        replaced.push_str(rest);
        Ok(replaced)
    }

    fn count(&mut self, expression: &str, value: &str) -> Result<(), SubstitutionError> {
        if value.len() > MAX_VALUE {
            return Err(self.error(format!(
                "The value of {expression} is larger than {MAX_VALUE} bytes."
            )));
        }
        self.size += value.len();
        if self.size > MAX_VALUES {
            return Err(self.error(format!(
                "The values of all expressions are larger than {MAX_VALUES} bytes together."
            )));
        }
        Ok(())
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
        self.0.is_empty()
    }

    /// A message about the value at `path`, without any of the values in it: an expression stands for its value. A
    /// message that might have a part of a value is replaced by one that says only which expressions it is about.
    #[must_use]
    pub fn conceal<'a>(&self, message: &'a str, path: Option<&Path>) -> Cow<'a, str> {
        let mut shown = Cow::Borrowed(message);
        // The longest first, since one value may be a part of another.
        let mut all: Vec<_> = self.0.iter().filter(|it| !it.value.is_empty()).collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.value.len()));
        for replaced in &all {
            if replaced.value.len() >= RECOGNIZED && shown.contains(&replaced.value) {
                shown = shown.replace(&replaced.value, &replaced.expression).into();
            }
        }
        let is_about = |it: &&&Replaced| path.is_some_and(|path| is_within(&it.path, path));
        let suspects = all.iter().filter(|it| {
            // Values that are too short to be recognized are not searched for elsewhere.
            has_part(&shown, &it.value) || (it.value.len() < RECOGNIZED && is_about(it))
        });
        let mut expressions: Vec<_> = suspects.map(|it| it.expression.as_str()).collect();
        if expressions.is_empty() {
            return shown;
        }
        expressions.sort_unstable();
        expressions.dedup();
        expressions.truncate(MAX_NAMED);
        let expressions = expressions.join(", ");
        format!("The value is not usable with the value of {expressions}, which is not shown.")
            .into()
    }
}

/// The length from which a part of a value is recognized in a message, in bytes.
const RECOGNIZED: usize = 6;

/// How many expressions a message names.
const MAX_NAMED: usize = 5;

/// Whether `text` has any part of `value` that is long enough to be recognized.
fn has_part(text: &str, value: &str) -> bool {
    let (text, value) = (text.as_bytes(), value.as_bytes());
    let parts: std::collections::HashSet<_> = value.windows(RECOGNIZED).collect();
    text.windows(RECOGNIZED).any(|part| parts.contains(part))
}

/// Whether `inner` is `outer` or below it.
fn is_within(inner: &Path, outer: &Path) -> bool {
    inner.segments().starts_with(outer.segments())
}

impl std::fmt::Debug for Values {
    /// Without the values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let expressions = self.0.iter().map(|it| (&it.path, &it.expression));
        f.debug_map().entries(expressions).finish()
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
        let many = |count| Value::String("${env:A}".repeat(count));
        let most = MAX_VALUES / MAX_VALUE;
        assert!(substitute(&many(most), value(MAX_VALUE)).is_ok());
        assert!(substitute(&many(most + 1), value(MAX_VALUE)).is_err());
    }

    #[test]
    fn a_message_has_no_part_of_a_value() {
        let tree = tree(r#"{"a": "${env:A}", "b": {"c": "${env:SHORT}"}}"#);
        let (_, values) = substitute(&tree, value_of).unwrap();
        let path = |text: &str| Path::parse(text).unwrap();
        for (message, at, expected) in [
            ("Nothing of it.", "/a", "Nothing of it."),
            ("No \"value of a\".", "/x", "No \"${env:A}\"."),
            (
                "No \"value of…\".",
                "/x",
                "The value is not usable with the value of ${env:A}, which is not shown.",
            ),
            (
                "No \"xy\".",
                "/b",
                "The value is not usable with the value of ${env:SHORT}, which is not shown.",
            ),
            // Too short to be recognized, and not about it.
            ("A galaxy.", "/x", "A galaxy."),
        ] {
            assert_eq!(values.conceal(message, Some(&path(at))), expected);
        }
        assert_eq!(values.conceal("A galaxy.", None), "A galaxy.");
        assert!(!format!("{values:?}").contains("value of a"));
    }
}
