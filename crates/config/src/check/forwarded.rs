//! `forwarded` and its older form, `client_ip`: the proxies that are trusted to name the client.

use http::HeaderName;
use routing::{AddressPatterns, Forwarded};

use super::error::ConfigError;
use super::patterns;
use super::schema::{Checker, Kinds, Member};
use crate::Value;

const FORWARDED: &[Member] = &[
    Member::optional("client_ip", Kinds::STRING),
    Member::optional("protocol", Kinds::STRING),
    Member::required("source", Kinds::STRING.or(Kinds::ARRAY)),
    Member::optional("recursive", Kinds::BOOLEAN),
];

const CLIENT_IP: &[Member] = &[
    Member::required("source", Kinds::STRING.or(Kinds::ARRAY)),
    Member::required("header", Kinds::STRING),
    Member::optional("recursive", Kinds::BOOLEAN),
];

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Forwarded, ConfigError> {
    let has = |name| value.child(name).is_some();
    if !has("client_ip") && !has("protocol") {
        return Err(checker.error(
            "The \"forwarded\" object must have either \"client_ip\" or \"protocol\" option set.",
        ));
    }
    members(checker, value, FORWARDED)
}

pub(super) fn check_client_ip<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Forwarded, ConfigError> {
    members(checker, value, CLIENT_IP)
}

fn members<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
    table: &'static [Member],
) -> Result<Forwarded, ConfigError> {
    let mut forwarded = Forwarded {
        source: AddressPatterns::new(),
        client_ip: None,
        protocol: None,
        recursive: false,
    };
    checker.members(value, &[table], |checker, name, value| {
        match name {
            "source" => forwarded.source = patterns::addresses(checker, value)?,
            "recursive" => forwarded.recursive = *value == Value::Bool(true),
            "protocol" => forwarded.protocol = field_name(checker, value),
            // `client_ip` and `header`
            _ => forwarded.client_ip = field_name(checker, value),
        }
        Ok(())
    })?;
    Ok(forwarded)
}

/// Unit accepts any string; with an invalid name it never finds a field.
fn field_name(checker: &mut Checker<'_>, value: &Value) -> Option<HeaderName> {
    let name = value.as_str().unwrap_or_default();
    let name = HeaderName::from_bytes(name.as_bytes()).ok();
    if name.is_none() {
        checker.warn("this is not a valid name of a header field, so it has no effect");
    }
    name
}
