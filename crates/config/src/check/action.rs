//! `action`: the handling of the requests that a step matches.

use http::{HeaderName, HeaderValue};
use routing::{Patterns, Rewrite, Template};

use super::checker::{Checker, shortened};
use super::error::ConfigError;
use super::pass::{self, Pass};
use super::table::{Choice, Form, Interval, Items, Map, Member, Regex, Selector, Table, Text};
use super::upstream::{self, ServerAddress};
use super::{patterns, template};
use crate::bounds::RESPONSE_HEADERS;
use crate::{Object, Value};

/// The action of a route step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// `pass`, `return`, `share` or `proxy`.
    pub kind: ActionKind,
    /// The new path of the request, before the action is taken.
    pub rewrite: Option<Rewrite>,
    /// Changes to the response's header fields. Their names differ without regard to case, and none frames the
    /// body (`content-length`, `transfer-encoding`).
    pub response_headers: Vec<ResponseHeader>,
}

/// The member that selects the kind of action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Continue with an application, a route or an upstream.
    Pass(Pass),
    /// Return a fixed response.
    Return(Return),
    /// Serve a static file.
    Share(Share),
    /// Proxy to the server at this address.
    Proxy(ServerAddress),
}

/// One member of `response_headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The field's name.
    pub name: HeaderName,
    /// The new value; `None` removes the field.
    pub value: Option<Template>,
}

/// `return`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// The status code, from 0 to 999.
    pub status: u16,
    /// `location`, not encoded.
    pub location: Option<Template>,
}

/// `share`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The path of this action in the configuration.
    pub at: crate::Path,
    /// Paths of files, at least one, in the order in which they are tried.
    pub paths: Vec<Template>,
    /// The file that is served for a folder.
    pub index: String,
    /// The MIME types of the files that are served; all by default.
    pub types: Option<Patterns>,
    /// The action if no file is served; 404 or 403 by default.
    pub fallback: Option<Box<Action>>,
    /// The folder that no path can leave, not even by symlinks.
    pub chroot: Option<Template>,
    /// Whether symlinks are followed.
    pub follow_symlinks: bool,
    /// Whether mount points are crossed.
    pub traverse_mounts: bool,
    /// Whether precompressed siblings (`.br`, `.zst`, `.gz`) are served.
    pub precompressed: bool,
}

impl Action {
    /// The `share` of this action, and those of its fallbacks.
    pub(super) fn shares(&self) -> impl Iterator<Item = &Share> {
        fn share(action: &Action) -> Option<&Share> {
            match &action.kind {
                ActionKind::Share(share) => Some(share),
                ActionKind::Pass(_) | ActionKind::Return(_) | ActionKind::Proxy(_) => None,
            }
        }
        std::iter::successors(share(self), |before| share(before.fallback.as_deref()?))
    }
}

pub(super) static ACTION: Choice = Choice {
    name: "action",
    description: "How requests are answered: by exactly one of pass, return, share and proxy.",
    selector: Selector::Member,
    cases: &[
        ("pass", &PASS),
        ("return", &RETURN),
        ("share", &SHARE),
        ("proxy", &PROXY),
    ],
};

static PASS: Table = Table::new(
    "pass",
    "Requests go to an application, a route, an upstream or the metrics.",
    &[
        &[Member::required_by_owner(
            "pass",
            Form::STRING,
            pass::DESCRIPTION,
        )],
        COMMON,
    ],
);

static RETURN: Table = Table::new(
    "return",
    "Requests are answered with a status.",
    &[
        &[
            Member::required_by_owner(
                "return",
                &[Form::Integer(STATUS)],
                "The status of a response without content; from 400 to 599 it has the server's error page.",
            ),
            Member::optional(
                "location",
                Form::STRING,
                "The response's Location field, with variables; none by default.",
            ),
        ],
        COMMON,
    ],
);

static SHARE: Table = Table::new(
    "share",
    "Requests are answered with files.",
    &[
        &[
            Member::required_by_owner(
                "share",
                &[
                    Form::String(Text::ANY),
                    Form::Array(Items::of(Form::STRING).at_least(1)),
                ],
                "The path of the file, such as /srv/www$uri, or several that are tried in this order; with variables.",
            ),
            Member::optional(
                "index",
                Form::STRING,
                "The file for a path that ends in a slash; index.html by default.",
            ),
            Member::optional(
                "types",
                Form::STRINGS,
                "Patterns of the MIME types that may be served; all by default.",
            ),
            Member::optional(
                "fallback",
                &[Form::Choice(&ACTION)],
                "The action if no file is served; by default the answer is 404, 403 or 405.",
            ),
            Member::optional(
                "chroot",
                Form::STRING,
                "The folder that no file may be outside of, with variables; none by default.",
            ),
            Member::optional(
                "follow_symlinks",
                Form::BOOLEAN,
                "Whether symlinks are followed; true by default.",
            ),
            Member::optional(
                "traverse_mounts",
                Form::BOOLEAN,
                "Whether mount points may be crossed; true by default.",
            ),
            Member::optional(
                "precompressed",
                Form::BOOLEAN,
                "Whether NAME.br, NAME.zst and NAME.gz are sent to clients that accept them; false by default.",
            ),
        ],
        COMMON,
    ],
);

static PROXY: Table = Table::new(
    "proxy",
    "Requests are passed on to another server.",
    &[
        &[Member::required_by_owner(
            "proxy",
            &[Form::String(upstream::PROXY)],
            "The other server's address, such as http://192.0.2.1:8080 or http://unix:/run/app.sock.",
        )],
        COMMON,
    ],
);

static COMMON: &[Member] = &[
    Member::optional(
        "rewrite",
        Form::STRING,
        "Replaces the request's path before the action is taken, with variables; none by default.",
    ),
    Member::optional(
        "response_headers",
        &[Form::Map(
            Map::of(&[Form::String(Text::ANY), Form::Null])
                .with_names(FIELD_NAME)
                .at_most(RESPONSE_HEADERS),
        )],
        "Fields of the response that are set, with variables, or removed (null), if the status is from 200 to 399.",
    ),
];

/// A token of HTTP, except for the fields that frame the body.
const FIELD_NAME: Text = Text::matching(Regex::Literal(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")).without(
    "^(?:[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Ll][Ee][Nn][Gg][Tt][Hh]\
     |[Tt][Rr][Aa][Nn][Ss][Ff][Ee][Rr]-[Ee][Nn][Cc][Oo][Dd][Ii][Nn][Gg])$",
);

/// The status of a `return`.
const STATUS: Interval = Interval {
    least: 0,
    most: 999,
};

/// The least status of a final response. Unit sends lower ones, too, and clients then wait for a final one.
const LEAST_STATUS: u16 = 200;

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Action, ConfigError> {
    let cases = ACTION.cases.iter();
    let mut given = cases.filter(|(name, _)| value.child(name).is_some());
    let (kind, table) = match (given.next(), given.next()) {
        (Some(kind), None) => kind,
        (Some(_), Some(_)) => {
            return Err(checker.error(
                "The \"action\" object must have just one of \"pass\", \"return\", \"share\", or \
                 \"proxy\" options set.",
            ));
        }
        (None, _) => {
            return Err(checker.error(
                "The \"action\" object must have either \"pass\", \"return\", \"share\", or \
                 \"proxy\" option set.",
            ));
        }
    };
    let mut kind = match *kind {
        "return" => ActionKind::Return(Return {
            status: 0,
            location: None,
        }),
        "share" => ActionKind::Share(Share {
            at: checker.path().clone().join("share"),
            paths: Vec::new(),
            index: "index.html".to_owned(),
            types: None,
            fallback: None,
            chroot: None,
            follow_symlinks: true,
            traverse_mounts: true,
            precompressed: false,
        }),
        // A placeholder until the member is checked.
        _ => ActionKind::Pass(Pass::Routes(None)),
    };
    let (mut rewrite, mut response_headers) = (None, Vec::new());
    checker.members(value, table, |checker, name, value| {
        match (name, &mut kind) {
            ("rewrite", _) => {
                let text = value.as_str().unwrap_or_default();
                rewrite = Some(template::rewrite(checker, text)?);
            }
            ("response_headers", _) => response_headers = check_headers(checker, value)?,
            ("proxy", kind) => *kind = ActionKind::Proxy(upstream::check_proxy(checker, value)?),
            (_, ActionKind::Pass(to)) => *to = pass::check(checker, name, value)?,
            (_, ActionKind::Return(answer)) => check_return(checker, name, value, answer)?,
            (_, ActionKind::Share(share)) => check_share(checker, name, value, share)?,
            // It has no member but `proxy`.
            (_, ActionKind::Proxy(_)) => {}
        }
        Ok(())
    })?;
    Ok(Action {
        kind,
        rewrite,
        response_headers,
    })
}

fn check_return(
    checker: &mut Checker<'_>,
    name: &str,
    value: &Value,
    answer: &mut Return,
) -> Result<(), ConfigError> {
    if name == "location" {
        let text = value.as_str().unwrap_or_default();
        answer.location = Some(template::check(checker, name, text)?);
        return Ok(());
    }
    let Value::Number(number) = value else {
        return Ok(());
    };
    let status = number.as_i64().filter(|&it| STATUS.contains(it));
    answer.status = status
        .and_then(|status| u16::try_from(status).ok())
        .ok_or_else(|| {
            checker.error("The \"return\" value is out of allowed HTTP status code range 0-999.")
        })?;
    if answer.status < LEAST_STATUS {
        checker.warn("a final response of HTTP cannot have this status, so the answer is 500");
    }
    Ok(())
}

fn check_share<'a>(
    checker: &mut Checker<'a>,
    name: &str,
    value: &'a Value,
    share: &mut Share,
) -> Result<(), ConfigError> {
    let text = value.as_str().unwrap_or_default();
    match name {
        "share" => share.paths = check_paths(checker, value)?,
        "index" => share.index = text.to_owned(),
        "types" => {
            let mut types = Patterns::media_types();
            patterns::check(checker, name, value, |text| types.push(text))?;
            share.types = Some(types);
        }
        "fallback" => share.fallback = Some(Box::new(check(checker, value)?)),
        // As in Unit, empty means no `chroot`.
        "chroot" if text.is_empty() => {}
        "chroot" => share.chroot = Some(template::check(checker, name, text)?),
        "follow_symlinks" => share.follow_symlinks = *value == Value::Bool(true),
        "traverse_mounts" => share.traverse_mounts = *value == Value::Bool(true),
        // `precompressed`
        _ => share.precompressed = *value == Value::Bool(true),
    }
    Ok(())
}

fn check_paths<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Vec<Template>, ConfigError> {
    let path = |checker: &Checker<'_>, value: &Value| {
        let text = value
            .as_str()
            .ok_or_else(|| checker.error("The \"share\" array must contain only string values."))?;
        template::check(checker, "share", text)
    };
    if value.as_array().is_none() {
        return Ok(vec![path(checker, value)?]);
    }
    let mut paths = Vec::new();
    checker.elements(value, |checker, value| {
        paths.push(path(checker, value)?);
        Ok(())
    })?;
    if paths.is_empty() {
        return Err(checker.error("The \"share\" array must contain at least one element."));
    }
    Ok(paths)
}

fn check_headers<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Vec<ResponseHeader>, ConfigError> {
    let count = value.as_object().map_or(0, Object::len);
    if count > RESPONSE_HEADERS {
        return Err(checker.error(format!(
            "The \"response_headers\" object must have at most {RESPONSE_HEADERS} members, but not \
             {count}."
        )));
    }
    let mut headers: Vec<ResponseHeader> = Vec::with_capacity(count);
    checker.each(value, |checker, name, value| {
        let header = check_header(checker, name, value)?;
        if headers.iter().any(|other| other.name == header.name) {
            return Err(checker.error(format!(
                "The response header \"{name}\" is set twice: names are compared without regard to case."
            )));
        }
        headers.push(header);
        Ok(())
    })?;
    Ok(headers)
}

/// Stricter than Unit, which sends names and values unchecked.
fn check_header(
    checker: &mut Checker<'_>,
    name: &str,
    value: &Value,
) -> Result<ResponseHeader, ConfigError> {
    if name.is_empty() {
        return Err(checker.error("The response header name must not be empty."));
    }
    let shown = shortened(name);
    let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        checker.error(format!(
            "The response header name \"{shown}\" contains characters that are not allowed in a \
                 header field name."
        ))
    })?;
    // These two frame the body: a wrong value would allow response smuggling.
    if field == http::header::CONTENT_LENGTH || field == http::header::TRANSFER_ENCODING {
        return Err(checker.error(format!(
            "The \"{shown}\" response header value is not supported"
        )));
    }
    let value = match value {
        Value::Null => None,
        Value::String(text) => Some(template::check(checker, name, text)?),
        _ => {
            return Err(checker.error(format!(
                "The \"{shown}\" response header value must either be a string or a null"
            )));
        }
    };
    if value.is_none() && field == http::header::DATE {
        checker.warn("the server sets the date of every response (RFC 9110, section 6.6.1), so this has no effect");
    }
    let constant = value.as_ref().and_then(Template::constant);
    if constant.is_some_and(|constant| HeaderValue::from_bytes(constant).is_err()) {
        return Err(checker.error(format!(
            "The \"{shown}\" response header value must not contain control characters."
        )));
    }
    Ok(ResponseHeader { name: field, value })
}
