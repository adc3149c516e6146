//! `action`: what is done with a request.

use http::{HeaderName, HeaderValue};
use routing::{Patterns, Rewrite, Template};

use super::error::ConfigError;
use super::pass::{self, Pass};
use super::schema::{Checker, Kinds, Member, shortened};
use super::upstream::{self, ServerAddress};
use super::{patterns, template};
use crate::bounds::RESPONSE_HEADERS;
use crate::{Object, Value};

/// What a step does with the requests that match it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What.
    pub kind: ActionKind,
    /// Which path the request has from here on.
    pub rewrite: Option<Rewrite>,
    /// What is changed of the response's fields. Their names differ but for case, and none is about
    /// the length of the body.
    pub response_headers: Vec<ResponseHeader>,
}

/// The kinds of action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Somebody else answers.
    Pass(Pass),
    /// The answer is this.
    Return(Return),
    /// The answer is a file.
    Share(Share),
    /// The answer is that of the server which listens here.
    Proxy(ServerAddress),
}

/// One member of `response_headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// Of the field.
    pub name: HeaderName,
    /// What it is set to; `None` removes it.
    pub value: Option<Template>,
}

/// `return`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// From 0 to 999.
    pub status: u16,
    /// `location`, not encoded.
    pub location: Option<Template>,
}

/// `share`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Where it stands in the configuration.
    pub at: crate::Path,
    /// The files, one at least, in the order in which they are tried.
    pub paths: Vec<Template>,
    /// What stands for a folder.
    pub index: String,
    /// Which files are served; all by default.
    pub types: Option<Patterns>,
    /// What is done where no file is served.
    pub fallback: Option<Box<Action>>,
    /// What no file is outside of.
    pub chroot: Option<Template>,
    /// Whether links are followed.
    pub follow_symlinks: bool,
    /// Whether other file systems are.
    pub traverse_mounts: bool,
    /// Whether compressed siblings are served.
    pub precompressed: bool,
}

impl Action {
    /// The files that it shares, and its fallbacks.
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

/// What tells the kinds apart, and the members of each.
const KINDS: [(&str, &[Member]); 4] = [
    ("pass", PASS),
    ("return", RETURN),
    ("share", SHARE),
    ("proxy", PROXY),
];

const PASS: &[Member] = &[Member::optional("pass", Kinds::STRING)];

const RETURN: &[Member] = &[
    Member::optional("return", Kinds::INTEGER),
    Member::optional("location", Kinds::STRING),
];

const SHARE: &[Member] = &[
    Member::optional("share", Kinds::STRING.or(Kinds::ARRAY)),
    Member::optional("index", Kinds::STRING),
    Member::optional("types", Kinds::STRING.or(Kinds::ARRAY)),
    Member::optional("fallback", Kinds::OBJECT),
    Member::optional("chroot", Kinds::STRING),
    Member::optional("follow_symlinks", Kinds::BOOLEAN),
    Member::optional("traverse_mounts", Kinds::BOOLEAN),
    Member::optional("precompressed", Kinds::BOOLEAN),
];

const PROXY: &[Member] = &[Member::optional("proxy", Kinds::STRING)];

const COMMON: &[Member] = &[
    Member::optional("rewrite", Kinds::STRING),
    Member::optional("response_headers", Kinds::OBJECT),
];

/// The greatest status of a `return`.
const MOST_STATUS: i64 = 999;

/// The least one that can be sent. Unit sends lesser ones, too, and its clients wait for more.
const LEAST_STATUS: u16 = 200;

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Action, ConfigError> {
    let mut given = KINDS.iter().filter(|(name, _)| value.child(name).is_some());
    let (kind, members) = match (given.next(), given.next()) {
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
        // Until its member is looked at.
        _ => ActionKind::Pass(Pass::Routes(None)),
    };
    let (mut rewrite, mut response_headers) = (None, Vec::new());
    checker.members(value, &[members, COMMON], |checker, name, value| {
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
    let status = number.as_i64().filter(|it| (0..=MOST_STATUS).contains(it));
    answer.status = status
        .and_then(|status| u16::try_from(status).ok())
        .ok_or_else(|| {
            checker.error("The \"return\" value is out of allowed HTTP status code range 0-999.")
        })?;
    if answer.status < LEAST_STATUS {
        checker.warn("HTTP has no response that ends with such a status, so the answer is 500");
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
        // As in Unit, an empty one is none.
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
                "The response header \"{name}\" is there twice: case makes no difference."
            )));
        }
        headers.push(header);
        Ok(())
    })?;
    Ok(headers)
}

/// Unit sends names and values as they are, be they fields or not.
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
    // Both say where the body ends, which is not for a configuration to say.
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
        checker.warn("a response always has its date (RFC 9110, section 6.6.1)");
    }
    let constant = value.as_ref().and_then(Template::constant);
    if constant.is_some_and(|constant| HeaderValue::from_bytes(constant).is_err()) {
        return Err(checker.error(format!(
            "The \"{shown}\" response header value must not contain control characters."
        )));
    }
    Ok(ResponseHeader { name: field, value })
}
