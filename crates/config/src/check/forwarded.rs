//! `forwarded` and its older form, `client_ip`: the proxies that are trusted to name the client.

use http::HeaderName;
use routing::{AddressPatterns, Forwarded};

use super::checker::Checker;
use super::error::ConfigError;
use super::patterns;
use super::table::{Form, Member, Table};
use crate::Value;

pub(super) static FORWARDED: Table = Table::new(
    "forwarded",
    "Which proxies may name the client, and in which fields.",
    &[
        &[
            Member::optional(
                "client_ip",
                Form::STRING,
                "The request field that names the client, such as X-Forwarded-For; this or protocol is required.",
            ),
            Member::optional(
                "protocol",
                Form::STRING,
                "The request field that names the scheme, such as X-Forwarded-Proto; this or client_ip is required.",
            ),
        ],
        COMMON,
    ],
)
.with_any_of(&["client_ip", "protocol"]);

pub(super) static CLIENT_IP: Table = Table::new(
    "client_ip",
    "Which proxies may name the client; the older form of forwarded.",
    &[
        COMMON,
        &[Member::required(
            "header",
            Form::STRING,
            "The request field that names the client, such as X-Forwarded-For.",
        )],
    ],
);

const COMMON: &[Member] = &[
    Member::required(
        "source",
        Form::STRINGS,
        "Address patterns of the peers that are trusted; an empty array trusts none.",
    ),
    Member::optional(
        "recursive",
        Form::BOOLEAN,
        "Whether an address that source matches is skipped in favour of the one before it; false by default.",
    ),
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
    members(checker, value, &FORWARDED)
}

pub(super) fn check_client_ip<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Forwarded, ConfigError> {
    members(checker, value, &CLIENT_IP)
}

fn members<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
    table: &'static Table,
) -> Result<Forwarded, ConfigError> {
    let mut forwarded = Forwarded {
        source: AddressPatterns::new(),
        client_ip: None,
        protocol: None,
        recursive: false,
    };
    checker.members(value, table, |checker, name, value| {
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
