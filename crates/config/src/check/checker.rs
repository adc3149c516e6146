//! The state of the check of a tree, and what all parts of it share: members of objects against their tables in
//! Unit's order, elements, numbers and strings.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::error::{ConfigError, Warning};
use super::suggestion;
use super::table::{Interval, Kinds, Member, Presence, Table};
use crate::bounds::{Seconds, Whole};
use crate::{Object, Path, Value};

/// The state of the check: its place in the tree, and the warnings so far.
pub(super) struct Checker<'a> {
    /// The whole tree, for values that refer to others.
    pub(super) root: &'a Value,
    path: Path,
    warnings: Vec<Warning>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Self {
            root,
            path: Path::default(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }

    /// The current place.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An error at the current place.
    pub(super) fn error(&self, detail: impl Into<String>) -> ConfigError {
        ConfigError {
            detail: detail.into(),
            path: self.path.clone(),
            unknown: None,
            suggestion: None,
        }
    }

    /// Adds a warning at the current place.
    pub(super) fn warn(&mut self, reason: &'static str) {
        self.warnings.push(Warning {
            path: self.path.clone(),
            reason: reason.into(),
        });
    }

    /// Runs `check` one level below the current place.
    pub(super) fn at<T>(
        &mut self,
        segment: &str,
        check: impl FnOnce(&mut Self) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        self.path.push(segment);
        let outcome = check(self);
        self.path.pop();
        outcome
    }

    /// Checks that `value` is of one of `kinds`; `None` names the whole.
    pub(super) fn kind(
        &self,
        name: Option<&str>,
        value: &Value,
        kinds: Kinds,
    ) -> Result<(), ConfigError> {
        let kind = Kinds::of(value);
        if kinds.has(kind) {
            return Ok(());
        }
        let subject = name.map_or_else(
            || "The configuration".to_owned(),
            |name| format!("The \"{name}\" value"),
        );
        let (expected, found) = (kinds.describe(), kind.describe());
        Err(self.error(format!("{subject} must be {expected}, but not {found}.")))
    }

    /// Checks the members of an object against `table`: first that none is missing, then, in the order of the text,
    /// the kind of each, before it calls `check`.
    pub(super) fn members(
        &mut self,
        value: &'a Value,
        table: &'static Table,
        mut check: impl FnMut(&mut Self, &'static str, &'a Value) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        let Some(object) = value.as_object() else {
            return self.kind(None, value, Kinds::OBJECT);
        };
        let required = |member: &&Member| member.presence == Presence::Required;
        for member in table.members().filter(required) {
            if object.get(member.name).is_none() {
                return self.at(member.name, |checker| {
                    let name = member.name;
                    Err(checker.error(format!("Required parameter \"{name}\" is missing.")))
                });
            }
        }
        for (name, value) in object.iter() {
            let Some(member) = table.members().find(|member| member.name == name) else {
                let suggestion =
                    suggestion::nearest(name, table.members().map(|member| member.name));
                let error = self.error(format!("Unknown parameter \"{name}\"."));
                return Err(ConfigError {
                    unknown: Some(name.to_owned()),
                    suggestion,
                    ..error
                });
            };
            self.at(name, |checker| {
                checker.kind(Some(name), value, member.kinds)?;
                check(checker, member.name, value)
            })?;
        }
        Ok(())
    }

    /// Checks each member of an object with arbitrary names.
    pub(super) fn each(
        &mut self,
        value: &'a Value,
        mut check: impl FnMut(&mut Self, &'a str, &'a Value) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        for (name, value) in value.as_object().into_iter().flat_map(Object::iter) {
            self.at(name, |checker| check(checker, name, value))?;
        }
        Ok(())
    }

    /// Checks each element of an array.
    pub(super) fn elements(
        &mut self,
        value: &'a Value,
        mut check: impl FnMut(&mut Self, &'a Value) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            self.at(&index.to_string(), |checker| check(checker, value))?;
        }
        Ok(())
    }

    /// A whole number within Unit's bounds, with Unit's messages.
    pub(super) fn number(
        &self,
        name: &str,
        value: &Value,
        Interval { least, most }: Interval,
    ) -> Result<i64, ConfigError> {
        let number = match value {
            Value::Number(number) => number.as_i64().unwrap_or(number.as_f64() as i64),
            _ => 0,
        };
        if number < least {
            let wanted = match least {
                0 => "not be negative".to_owned(),
                _ => format!("be equal to or greater than {least}"),
            };
            return Err(self.error(format!("The \"{name}\" number must {wanted}.")));
        }
        if number > most {
            return Err(self.error(format!("The \"{name}\" number must not exceed {most}.")));
        }
        Ok(number)
    }

    /// A whole number within our own bounds.
    pub(super) fn whole<T: FromStr>(
        &self,
        name: &str,
        value: &Value,
        bounds: &Whole,
    ) -> Result<T, ConfigError> {
        let number = match value {
            Value::Number(number) => number.as_i64(),
            _ => None,
        };
        number
            .and_then(|number| bounds.read(&number.to_string()))
            .ok_or_else(|| self.out_of_bounds(name, value, bounds))
    }

    /// Seconds within our own bounds.
    pub(super) fn seconds(
        &self,
        name: &str,
        value: &Value,
        bounds: &Seconds,
    ) -> Result<Duration, ConfigError> {
        let time = match value {
            Value::Number(number) => bounds.of(number.as_str()),
            _ => None,
        };
        time.ok_or_else(|| self.out_of_bounds(name, value, bounds))
    }

    fn out_of_bounds(&self, name: &str, value: &Value, bounds: impl Display) -> ConfigError {
        let number = crate::print(value);
        self.error(format!(
            "The \"{name}\" value must be {bounds}, but not {number}."
        ))
    }

    /// An array of at most `most` elements.
    pub(super) fn at_most(
        &self,
        name: &str,
        value: &Value,
        most: usize,
    ) -> Result<(), ConfigError> {
        let count = value.as_array().map_or(0, <[Value]>::len);
        if count > most {
            return Err(self.error(format!(
                "The \"{name}\" array must have at most {most} elements, but not {count}."
            )));
        }
        Ok(())
    }

    /// A string that is not empty and has no NUL.
    pub(super) fn filled(&self, name: &str, value: &'a Value) -> Result<&'a str, ConfigError> {
        let text = value.as_str().unwrap_or_default();
        let wrong = if text.is_empty() {
            "be empty"
        } else if text.contains('\0') {
            "contain null character"
        } else {
            return Ok(text);
        };
        Err(self.error(format!("The \"{name}\" value must not {wrong}.")))
    }
}

/// The first 100 characters of a text, for a message. Not escaped: the answer's JSON and the log do that.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    const ENOUGH: usize = 100;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// Whether an array or object is empty.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
