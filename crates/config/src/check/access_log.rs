//! `access_log`.

use std::path::PathBuf;

use routing::{Condition, Template};

use super::checker::Checker;
use super::error::ConfigError;
use super::table::{Form, Map, Member, Table, Text};
use super::template;
use crate::{Path, Value};

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The file that lines are appended to. The path is absolute.
    pub path: PathBuf,
    /// The format of a line.
    pub format: LogFormat,
    /// The condition (`if`) for a request to be logged; all are by default.
    pub condition: Option<Condition>,
    /// The path of `path` in the configuration.
    pub at: Path,
}

/// The format of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// This template, and a line feed.
    Text(Template),
    /// A JSON object with these members.
    Json(Vec<(String, Template)>),
}

/// The Combined Log Format.
const COMBINED: &str = "$remote_addr - - [$time_local] \"$request_line\" $status \
                        $body_bytes_sent \"$header_referer\" \"$header_user_agent\"";

pub(super) static ACCESS_LOG: &[Form] = &[Form::String(Text::ABSOLUTE), Form::Object(&OPTIONS)];

static OPTIONS: Table = Table::new(
    "access_log",
    "The access log, and what is in it.",
    &[&[
        Member::required_by_owner(
            "path",
            &[Form::String(Text::ABSOLUTE)],
            "The file to which lines are appended, an absolute path.",
        ),
        Member::optional(
            "format",
            &[
                Form::String(Text::ANY),
                Form::Map(Map::of(Form::STRING).with_names(Text::NOT_EMPTY)),
            ],
            "The text of a line, or the members of a JSON object that is one line, with variables; the Combined Log \
             Format by default.",
        ),
        Member::optional(
            "if",
            Form::STRING,
            "Expands its variables, and a request is logged if the result is neither empty, 0, false, null nor \
             undefined; a leading ! negates, and all requests are logged by default.",
        ),
    ]],
);

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<AccessLog, ConfigError> {
    let at: Path = ["access_log"].into_iter().collect();
    let mut log = AccessLog {
        path: PathBuf::new(),
        format: LogFormat::Text(template::check(checker, "format", COMBINED)?),
        condition: None,
        at: at.clone(),
    };
    if let Some(path) = value.as_str() {
        if path.is_empty() {
            return Err(checker.error("The \"access_log\" value must not be empty."));
        }
        log.path = check_path(checker, "access_log", path)?;
        return Ok(log);
    }
    log.at = at.join("path");
    checker.members(value, &OPTIONS, |checker, name, value| {
        let text = value.as_str();
        match name {
            "path" => log.path = check_path(checker, name, text.unwrap_or_default())?,
            "if" => {
                log.condition = Some(template::condition(checker, text.unwrap_or_default())?);
            }
            // `format`
            _ => log.format = check_format(checker, value)?,
        }
        Ok(())
    })?;
    if log.path.as_os_str().is_empty() {
        return checker.at("path", |checker| {
            Err(checker.error("The \"path\" string must not be empty."))
        });
    }
    Ok(log)
}

/// Stricter than Unit, which accepts a relative path, and resolves it against the folder it was started in.
fn check_path(checker: &Checker<'_>, name: &str, text: &str) -> Result<PathBuf, ConfigError> {
    let wrong = if text.is_empty() {
        return Err(checker.error(format!("The \"{name}\" string must not be empty.")));
    } else if text.contains('\0') {
        "must not contain null character"
    } else if text.starts_with('/') {
        return Ok(text.into());
    } else {
        "must be an absolute path"
    };
    Err(checker.error(format!("The \"{name}\" string {wrong}.")))
}

fn check_format<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<LogFormat, ConfigError> {
    if let Some(text) = value.as_str() {
        return Ok(LogFormat::Text(template::check(checker, "format", text)?));
    }
    let mut members = Vec::new();
    checker.each(value, |checker, name, value| {
        if name.is_empty() {
            return Err(checker.error("In the access log format, the name must not be empty."));
        }
        let text = value.as_str().ok_or_else(|| {
            checker.error("In the access log format, the value must be a string.")
        })?;
        members.push((name.to_owned(), template::check(checker, name, text)?));
        Ok(())
    })?;
    Ok(LogFormat::Json(members))
}
