//! `settings.http.compression`: checked as Unit checks it, so that mistakes are reported here as there. It has
//! no effect.

use routing::Patterns;

use super::checker::{Checker, is_empty, shortened};
use super::error::ConfigError;
use super::patterns;
use super::table::{Form, Items, Member, Table, Text};
use crate::Value;

pub(super) static COMPRESSION: Table = Table::new(
    "compression",
    "Without effect, since responses are not compressed; a share can serve compressed files, by precompressed.",
    &[&[
        Member::optional(
            "types",
            Form::STRINGS,
            "Without effect: patterns of the MIME types that Unit compresses.",
        ),
        Member::optional(
            "compressors",
            &[
                Form::Empty,
                Form::Object(&COMPRESSOR),
                Form::Array(Items::of(&[Form::Object(&COMPRESSOR)])),
            ],
            "Without effect: one compressor of Unit, or several.",
        ),
    ]],
);

static COMPRESSOR: Table = Table::new(
    "compressor",
    "A compressor of Unit, without effect.",
    &[&[
        Member::required(
            "encoding",
            &[Form::String(Text::one_of(&ENCODINGS))],
            "Without effect: the name of the encoding.",
        ),
        Member::optional(
            "level",
            Form::INTEGER,
            "Without effect: the level of compression.",
        ),
        Member::optional(
            "min_length",
            Form::INTEGER,
            "Without effect: the least number of bytes that are compressed.",
        ),
    ]],
);

/// The compressors that Unit can be built with.
const ENCODINGS: [&str; 5] = ["identity", "deflate", "gzip", "zstd", "br"];

pub(super) fn check<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<(), ConfigError> {
    checker.members(value, &COMPRESSION, |checker, name, value| match name {
        "types" => {
            let mut types = Patterns::media_types();
            patterns::check(checker, name, value, |text| types.push(text))
        }
        _ if value.as_array().is_some() => checker.elements(value, |checker, value| {
            if value.as_object().is_none() {
                return Err(
                    checker.error("The \"compressors\" array must contain only object values.")
                );
            }
            check_compressor(checker, value)
        }),
        _ if is_empty(value) => Ok(()),
        _ => check_compressor(checker, value),
    })?;
    if !is_empty(value) {
        checker.warn(
            "responses are not compressed, so this has no effect; a \"share\" can serve compressed files, \
             see \"precompressed\"",
        );
    }
    Ok(())
}

fn check_compressor<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<(), ConfigError> {
    checker.members(value, &COMPRESSOR, |checker, name, value| {
        match value.as_str().filter(|_| name == "encoding") {
            Some(encoding) if !ENCODINGS.contains(&encoding) => {
                let encoding = shortened(encoding);
                Err(checker.error(format!("\"{encoding}\" is not a supported compressor.")))
            }
            _ => Ok(()),
        }
    })
}
