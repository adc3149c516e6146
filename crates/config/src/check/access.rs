//! `access`: the folders and destinations that guests can reach.

use std::path::PathBuf;

use outbound_policy::{Grant, Policy};

use super::checker::{Checker, shortened};
use super::error::ConfigError;
use super::table::{Form, Items, Kinds, Member, Regex, Table, Text};
use crate::{Value, bounds};

/// What guests can reach beyond their requests; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The folders that guests see, in the order of the text. Their names differ.
    pub filesystem: Vec<Folder>,
    /// The destinations of outgoing requests.
    pub outbound_http: Policy,
}

/// A folder that guests see, with all of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The folder's absolute path on the machine.
    pub path: PathBuf,
    /// The absolute path by which guests open it, without `.`, `..` and superfluous slashes.
    pub name: String,
    /// Whether guests are denied all changes.
    pub read_only: bool,
}

impl Folder {
    /// The longest path or name in bytes, as on Linux.
    const LONGEST: usize = 4095;

    /// Checks an array outside of a configuration in the same way as `access.filesystem`.
    ///
    /// # Errors
    ///
    /// The first error, and its path in `value`.
    ///
    /// ```
    /// let value = config::parse(br#"["/srv", {"path": "/var/www", "as": "/www", "read_only": true}]"#)?;
    /// let folders = config::Folder::check_all(&value)?;
    /// assert_eq!((folders[0].name.as_str(), folders[0].read_only), ("/srv", false));
    /// assert_eq!((folders[1].name.as_str(), folders[1].read_only), ("/www", true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_all(value: &Value) -> Result<Vec<Self>, ConfigError> {
        let mut checker = Checker::new(value);
        checker.kind(Some("filesystem"), value, Kinds::ARRAY)?;
        check_filesystem(&mut checker, value)
    }
}

/// The path of a folder, or its name.
const PATH: Text = Text::ABSOLUTE.at_most(Folder::LONGEST);

/// The beginning of a grant, and what must not be in it; `outbound_policy` knows the rest.
const GRANT: Text = Text::matching(Regex::Literal(
    r"^(?:\*$|[Hh][Tt][Tt][Pp][Ss]?://[^/?#\\@]+$)",
));

pub(super) static ACCESS: Table = Table::new(
    "access",
    "What guests may use beyond their requests; nothing by default.",
    &[&[
        Member::optional(
            "filesystem",
            &[Form::Array(
                Items::of(&[Form::String(PATH), Form::Object(&FOLDER)]).at_most(bounds::FOLDERS),
            )],
            "The folders that guests see, with all that is in them; none by default.",
        ),
        Member::optional(
            "outbound_http",
            &[Form::Array(
                Items::of(&[Form::String(GRANT)]).at_most(bounds::GRANTS),
            )],
            "The destinations of outgoing requests, such as https://api.example.com, http://*.internal:8080 or *; \
             none by default.",
        ),
    ]],
);

static FOLDER: Table = Table::new(
    "folder",
    "A folder that guests see under another name, or can only read.",
    &[&[
        Member::required(
            "path",
            &[Form::String(PATH)],
            "The folder on the machine, an absolute path.",
        ),
        Member::optional(
            "as",
            &[Form::String(PATH)],
            "The guests' name for the folder, an absolute path; the same as path by default.",
        ),
        Member::optional(
            "read_only",
            Form::BOOLEAN,
            "Whether guests can only read files and list folders; false by default.",
        ),
    ]],
);

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Access, ConfigError> {
    let mut access = Access::default();
    checker.members(value, &ACCESS, |checker, name, value| {
        match name {
            "filesystem" => access.filesystem = check_filesystem(checker, value)?,
            _ => access.outbound_http = check_outbound_http(checker, value)?,
        }
        Ok(())
    })?;
    Ok(access)
}

fn check_outbound_http<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Policy, ConfigError> {
    checker.at_most("outbound_http", value, bounds::GRANTS)?;
    let mut grants = Vec::new();
    checker.elements(value, |checker, value| {
        let text = value.as_str().ok_or_else(|| {
            checker.error(
                "The \"outbound_http\" array must contain only strings, such as \
                 \"https://api.example.com\".",
            )
        })?;
        grants.push(Grant::parse(text).map_err(|error| checker.error(format!("{error}.")))?);
        Ok(())
    })?;
    Ok(Policy::new(grants))
}

fn check_filesystem<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Vec<Folder>, ConfigError> {
    checker.at_most("filesystem", value, bounds::FOLDERS)?;
    let mut folders: Vec<Folder> = Vec::new();
    checker.elements(value, |checker, value| {
        let folder = check_folder(checker, value)?;
        if folders.iter().any(|other| other.name == folder.name) {
            let name = shortened(&folder.name);
            return Err(checker.error(format!(
                "Guests would see two folders as \"{name}\"; give one of them another name with \"as\"."
            )));
        }
        folders.push(folder);
        Ok(())
    })?;
    Ok(folders)
}

fn check_folder<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<Folder, ConfigError> {
    if value.as_str().is_some() {
        let path = check_path(checker, "path", value)?;
        return Ok(Folder {
            name: check_name(checker, path)?,
            path: path.into(),
            read_only: false,
        });
    }
    if value.as_object().is_none() {
        return Err(checker.error(
            "The \"filesystem\" array must contain only strings, and objects of \"path\", \"as\" \
             and \"read_only\".",
        ));
    }
    let (mut path, mut name, mut read_only) = ("", None, false);
    checker.members(value, &FOLDER, |checker, member, value| {
        match member {
            "path" => path = check_path(checker, member, value)?,
            "as" => {
                let text = check_path(checker, member, value)?;
                name = Some(check_name(checker, text)?);
            }
            _ => read_only = *value == Value::Bool(true),
        }
        Ok(())
    })?;
    let name = match name {
        Some(name) => name,
        None => checker.at("path", |checker| check_name(checker, path))?,
    };
    Ok(Folder {
        path: path.into(),
        name,
        read_only,
    })
}

fn check_path<'a>(
    checker: &Checker<'a>,
    name: &str,
    value: &'a Value,
) -> Result<&'a str, ConfigError> {
    let text = checker.filled(name, value)?;
    let wrong = if !text.starts_with('/') {
        "be absolute".to_owned()
    } else if text.len() > Folder::LONGEST {
        format!("have at most {} bytes", Folder::LONGEST)
    } else {
        return Ok(text);
    };
    let text = shortened(text);
    Err(checker.error(format!(
        "The \"{name}\" of a folder must {wrong}, but not \"{text}\"."
    )))
}

/// Normalises a name: the standard libraries of guests compare names as texts.
fn check_name(checker: &Checker<'_>, text: &str) -> Result<String, ConfigError> {
    let mut name = String::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                let text = shortened(text);
                return Err(checker.error(format!(
                    "Guests would see the folder \"{text}\" under a name with \"..\"; give it another name \
                     with \"as\"."
                )));
            }
            _ => {
                name.push('/');
                name.push_str(segment);
            }
        }
    }
    Ok(if name.is_empty() {
        "/".to_owned()
    } else {
        name
    })
}
