//! The values of expressions in a configuration: environment variables, and the content of files.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use config::{ConfigError, Expression, MAX_VALUE, SubstitutionError, Value, Values, Warning};
use nix::fcntl::OFlag;

use crate::{PrepareError, RestartError};

/// A tree whose expressions have been replaced.
#[derive(Clone)]
pub struct Resolved {
    /// The same as the original if that has no expressions.
    pub tree: Arc<Value>,
    /// The values, to keep them out of messages.
    pub values: Arc<Values>,
}

impl std::fmt::Debug for Resolved {
    /// Without the values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Resolved").field(&self.values).finish()
    }
}

impl Resolved {
    /// The error without any value of an expression.
    #[must_use]
    pub fn conceal_invalid(&self, error: ConfigError) -> ConfigError {
        let detail = self.values.conceal(&error.detail, Some(&error.path));
        ConfigError {
            detail: detail.into_owned(),
            ..error
        }
    }

    /// The error without any value of an expression.
    pub(crate) fn conceal_unusable(&self, error: PrepareError) -> PrepareError {
        let detail = self.values.conceal(&error.detail, error.path.as_ref());
        PrepareError {
            detail: detail.into_owned(),
            ..error
        }
    }

    /// The error without any value of an expression.
    pub(crate) fn conceal_restart(&self, application: &str, error: &RestartError) -> RestartError {
        // Which of them names the component depends on the type.
        let detail = ["component", "module"].into_iter().fold(
            Cow::Borrowed(error.detail.as_str()),
            |detail, member| {
                let path = ["applications", application, member].into_iter().collect();
                self.values
                    .conceal(&detail, Some(&path))
                    .into_owned()
                    .into()
            },
        );
        RestartError {
            detail: detail.into_owned(),
        }
    }

    /// The warning without any value of an expression.
    pub(crate) fn conceal_warning(&self, warning: &Warning) -> String {
        let reason = match &warning.reason {
            // A text of the program has no value in it.
            Cow::Borrowed(reason) => Cow::Borrowed(*reason),
            Cow::Owned(reason) => self.values.conceal(reason, Some(&warning.path)),
        };
        format!("{}: {reason}", warning.path)
    }
}

/// Replaces the expressions of `tree` by the values of environment variables and the content of files, or refuses them
/// if that is not allowed. Blocks.
///
/// A content's last line end is cut off.
///
/// # Errors
///
/// The first expression that has no value, or one that is neither UTF-8 nor free of null characters, or too large.
pub fn resolve(tree: &Arc<Value>, is_allowed: bool) -> Result<Resolved, SubstitutionError> {
    if !config::has_expressions(tree) {
        return Ok(Resolved {
            tree: Arc::clone(tree),
            values: Arc::default(),
        });
    }
    let value_of = |expression: Expression<'_>| {
        if is_allowed {
            value_of(expression)
        } else {
            Err(
                "Expressions are not allowed; the server has to be started with \
                 --allow-substitution."
                    .to_owned(),
            )
        }
    };
    let (tree, values) = config::substitute(tree, value_of)?;
    Ok(Resolved {
        tree: Arc::new(tree),
        values: Arc::new(values),
    })
}

fn value_of(expression: Expression<'_>) -> Result<String, String> {
    match expression {
        Expression::Variable { name, default } => variable(name, default),
        Expression::File { path } => {
            content(Path::new(path)).map_err(|error| format!("Cannot read {path:?}: {error}."))
        }
    }
}

fn variable(name: &str, default: Option<&str>) -> Result<String, String> {
    let value = std::env::var_os(name).filter(|value| default.is_none() || !value.is_empty());
    match (value.map(OsString::into_string), default) {
        (Some(Ok(value)), _) => Ok(value),
        (Some(Err(_)), _) => Err(format!(
            "The value of the environment variable \"{name}\" is not UTF-8."
        )),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!("The environment variable \"{name}\" is not set.")),
    }
}

/// The text of a file, without a line end at its end: most editors add one.
fn content(path: &Path) -> io::Result<String> {
    let file = OpenOptions::new()
        .read(true)
        // Opening a pipe does not wait for its writer.
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut content = Vec::new();
    // With room for what is cut off, and for one byte more than allowed, which is an error.
    file.take(MAX_VALUE as u64 + 3).read_to_end(&mut content)?;
    if content.len() > MAX_VALUE + 2 {
        return Err(io::Error::other(format!(
            "it is larger than {MAX_VALUE} bytes"
        )));
    }
    let mut content =
        String::from_utf8(content).map_err(|_| io::Error::other("its content is not UTF-8"))?;
    if content.ends_with('\n') {
        content.pop();
        if content.ends_with('\r') {
            content.pop();
        }
    }
    if content.contains('\0') {
        return Err(io::Error::other("its content has a null character"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_has_no_value() {
        let tree = config::parse(br#"{"a": "${env:PATH}"}"#).unwrap();
        let resolved = resolve(&Arc::new(tree), true).unwrap();
        let path = std::env::var("PATH").unwrap();
        assert!(config::print(&resolved.tree).contains(&path));
        let debug = format!("{resolved:?}");
        assert!(
            debug.contains("${env:PATH}") && !debug.contains(&path),
            "{debug}"
        );
    }

    #[test]
    fn an_error_of_a_restart_has_no_short_value_of_the_components_path() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "pin1").unwrap();
        let expression = format!("${{file:{}}}", secret.display());
        let text =
            format!(r#"{{"applications": {{"a": {{"module": "/x/{expression}/a.wasm"}}}}}}"#);
        let tree = config::parse(text.as_bytes()).unwrap();
        let resolved = resolve(&Arc::new(tree), true).unwrap();
        let error = RestartError {
            detail: "/x/pin1/a.wasm: cannot be read".to_owned(),
        };
        let shown = resolved.conceal_restart("a", &error).detail;
        assert_eq!(shown, format!("/x/{expression}/a.wasm: cannot be read"));
    }

    #[test]
    fn one_line_end_is_cut_off_the_content_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (text, expected) in [
            ("abc", "abc"),
            ("abc\n", "abc"),
            ("abc\r\n", "abc"),
            ("abc\n\n", "abc\n"),
            ("abc \"\n", "abc \""),
            ("", ""),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(content(&path).unwrap(), expected);
        }
    }

    #[test]
    fn content_that_is_not_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (bytes, expected) in [(&b"a\xFF"[..], "UTF-8"), (b"a\0b", "null character")] {
            std::fs::write(&path, bytes).unwrap();
            let error = content(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(content(folder.path()).is_err());
        assert!(content(&folder.path().join("missing")).is_err());
        // Cut off within a character.
        std::fs::write(&path, "é".repeat(MAX_VALUE)).unwrap();
        let error = content(&path).unwrap_err().to_string();
        assert!(error.contains("larger"), "{error}");
        std::fs::write(&path, "x".repeat(MAX_VALUE) + "\r\n").unwrap();
        assert_eq!(content(&path).unwrap().len(), MAX_VALUE);
    }
}
