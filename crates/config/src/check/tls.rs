//! `tls` of a listener.

use std::time::Duration;

use certificates::{SessionOptions, TicketKey, TicketKeyError, Tickets, TlsOptions};

use super::checker::{Checker, is_empty};
use super::error::ConfigError;
use super::table::{Form, Interval, Items, Member, Regex, Table, Text};
use crate::{Object, Path, Value};

pub(super) static TLS: Table = Table::new(
    "tls",
    "TLS on a listener.",
    &[&[
        Member::required(
            "certificate",
            &[
                Form::String(Text::NOT_EMPTY),
                Form::Array(Items::of(Form::STRING).at_least(1)),
            ],
            "The name of an uploaded bundle of certificates, or several names; clients select one by SNI.",
        ),
        Member::optional(
            "conf_commands",
            &[Form::Empty],
            "Must be empty, since its commands configure OpenSSL, and this server uses rustls.",
        ),
        Member::optional(
            "session",
            &[Form::Object(&SESSION)],
            "How clients resume sessions; they cannot by default.",
        ),
    ]],
);

static SESSION: Table = Table::new(
    "session",
    "How clients resume TLS sessions.",
    &[&[
        Member::optional(
            "cache_size",
            &[Form::Integer(CACHE_SIZE)],
            "Sessions that the server keeps; 0 by default, which disables the cache.",
        ),
        Member::optional(
            "timeout",
            &[Form::Integer(Interval::at_least(1))],
            "Seconds during which a session can be resumed; 300 by default.",
        ),
        Member::optional(
            "tickets",
            &[
                Form::Boolean,
                Form::String(KEY),
                Form::Array(Items::of(&[Form::String(KEY)])),
            ],
            "Whether there are session tickets, or their keys, of which the last encrypts new tickets; false by \
             default.",
        ),
    ]],
);

const CACHE_SIZE: Interval = Interval::at_least(0);

/// 48 or 80 bytes in one of the two alphabets of Base64.
const KEY: Text = Text::matching(Regex::Literal(
    "^(?:[A-Za-z0-9+/_-]{64}|[A-Za-z0-9+/_-]{107}=?)$",
));

/// Checks the object `tls`, but not whether its certificates exist.
pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<TlsOptions, ConfigError> {
    let mut options = TlsOptions::new([""; 0]);
    checker.members(value, &TLS, |checker, name, value| {
        match name {
            "certificate" => options.certificates = check_certificates(checker, value)?,
            "session" => options.session = check_session(checker, value)?,
            _ if is_empty(value) => {}
            _ => {
                return Err(checker.error(format!(
                    "The \"{name}\" option is not supported: its commands configure OpenSSL, and this \
                     server uses rustls."
                )));
            }
        }
        Ok(())
    })?;
    Ok(options)
}

fn check_certificates<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Vec<String>, ConfigError> {
    if let Some(name) = value.as_str() {
        if name.is_empty() {
            return Err(checker.error("The \"certificate\" value must not be empty."));
        }
        return Ok(vec![name.to_owned()]);
    }
    if is_empty(value) {
        return Err(checker.error("The \"certificate\" array must contain at least one element."));
    }
    let mut names = Vec::new();
    checker.elements(value, |checker, value| {
        let name = value.as_str().ok_or_else(|| {
            checker.error("The \"certificate\" array must contain only string values.")
        })?;
        names.push(name.to_owned());
        Ok(())
    })?;
    Ok(names)
}

fn check_session<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<SessionOptions, ConfigError> {
    let mut options = SessionOptions::default();
    checker.members(value, &SESSION, |checker, name, value| {
        match name {
            "cache_size" => {
                let size = checker.number(name, value, CACHE_SIZE)?;
                options.cache_size = usize::try_from(size).unwrap_or(usize::MAX);
            }
            "timeout" => {
                let seconds = checker.number(name, value, Interval::ANY)?;
                let seconds = u64::try_from(seconds).ok().filter(|&seconds| seconds > 0);
                options.timeout = seconds.map(Duration::from_secs).ok_or_else(|| {
                    checker.error("The \"timeout\" number must be greater than zero.")
                })?;
            }
            _ => options.tickets = check_tickets(checker, value)?,
        }
        Ok(())
    })?;
    Ok(options)
}

fn check_tickets<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<Tickets, ConfigError> {
    let mut keys = Vec::new();
    match value {
        Value::Bool(false) => return Ok(Tickets::Off),
        Value::Bool(true) => return Ok(Tickets::On),
        Value::Array(_) => checker.elements(value, |checker, value| {
            keys.push(check_key(checker, value)?);
            Ok(())
        })?,
        _ => keys.push(check_key(checker, value)?),
    }
    Ok(Tickets::Keys(keys))
}

/// Unlike Unit, messages do not contain the key: it is a secret, and messages are logged.
fn check_key(checker: &Checker<'_>, value: &Value) -> Result<TicketKey, ConfigError> {
    let text = value
        .as_str()
        .ok_or_else(|| checker.error("The \"key\" array must contain only string values."))?;
    TicketKey::parse(text).map_err(|error| match error {
        TicketKeyError::Base64 => checker.error("Invalid Base64 format for the ticket key."),
        TicketKeyError::Length(length) => checker.error(format!(
            "Invalid length {length} of the ticket key.  Must be 48 or 80 bytes."
        )),
    })
}

/// Whether a listener of this tree uses the certificate.
#[must_use]
pub fn uses_certificate(root: &Value, name: &str) -> bool {
    named_certificates(root).any(|(_, named)| named == name)
}

/// The error for the first certificate that a listener of this tree names and that does not exist according to
/// `is_there`. [`Config::check`](crate::Config::check) cannot check this, since certificates are not part of the
/// configuration.
pub fn missing_certificate(root: &Value, is_there: impl Fn(&str) -> bool) -> Option<ConfigError> {
    let (path, name) = named_certificates(root).find(|(_, name)| !is_there(name))?;
    Some(ConfigError {
        detail: format!("Certificate \"{name}\" is not found."),
        path,
        unknown: None,
        suggestion: None,
    })
}

/// The certificates that listeners name, with their paths.
fn named_certificates(root: &Value) -> impl Iterator<Item = (Path, &str)> {
    let listeners = root.child("listeners").and_then(Value::as_object);
    let listeners = listeners.into_iter().flat_map(Object::iter);
    listeners.flat_map(|(listener, value)| {
        let path: Path = ["listeners", listener, "tls", "certificate"]
            .into_iter()
            .collect();
        let named = value.child("tls").and_then(|tls| tls.child("certificate"));
        let elements = named.and_then(Value::as_array).unwrap_or_default();
        let single = named
            .and_then(Value::as_str)
            .map(|name| (path.clone(), name));
        let several = elements
            .iter()
            .enumerate()
            .filter_map(move |(index, value)| {
                Some((path.clone().join(&index.to_string()), value.as_str()?))
            });
        single.into_iter().chain(several)
    })
}
