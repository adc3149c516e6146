//! The JSON Schema: its descriptions and definitions, and that it agrees with the check.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use test_mutations::Random;

use super::{check, corpus, refused};
use crate::{Config, ConfigError, Object, Value, json_schema, parse, print};

#[test]
fn each_member_and_definition_is_described_by_a_sentence() {
    let schema = json_schema();
    let mut described = 0;
    for (place, value) in schemas(&schema, "") {
        let description = value.child("description").and_then(Value::as_str);
        let description = description.unwrap_or_else(|| panic!("{place} has no description"));
        assert!(description.ends_with('.'), "{place}: {description}");
        assert!(
            description.starts_with(|it: char| it.is_ascii_uppercase()),
            "{place}: {description}"
        );
        assert!(!description.contains("  "), "{place}: {description}");
        assert!(description.chars().count() <= 200, "{place}: {description}");
        described += 1;
    }
    assert!(described > 150, "{described}");
}

/// The members and definitions below a schema, with their places.
fn schemas<'a>(value: &'a Value, place: &str) -> Vec<(String, &'a Value)> {
    let mut found = Vec::new();
    for (name, value) in value.as_object().into_iter().flat_map(Object::iter) {
        let place = format!("{place}/{name}");
        if matches!(name, "properties" | "$defs") {
            let members = value.as_object().into_iter().flat_map(Object::iter);
            for (name, member) in members {
                // Neither the condition of an `if` nor what strings have in common is shown to a reader.
                if !place.contains("/if/") && name != "expression" {
                    found.push((format!("{place}/{name}"), member));
                }
            }
        }
        found.extend(schemas(value, &place));
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(schemas(value, &format!("{place}/{index}")));
    }
    found
}

#[test]
fn a_configuration_cannot_name_its_schema() {
    refused(
        check(r#"{"$schema":"wasmtime-unitd.schema.json"}"#),
        "",
        "Unknown parameter \"$schema\".",
    );
}

/// By the source, since a table that the check uses and no other table has would be missing in the schema.
#[test]
fn every_table_of_the_check_is_in_the_schema() {
    let schema = json_schema();
    let definitions = schema.child("$defs").and_then(Value::as_object).unwrap();
    let defined: BTreeSet<_> = definitions.iter().map(|(name, _)| name).collect();
    let mut names = vec!["expression".to_owned()];
    for file in fs::read_dir(folder().join("src/check")).unwrap() {
        let file = file.unwrap().path();
        let is_code = file.extension().is_some_and(|it| it == "rs") && !file.ends_with("table.rs");
        let text = if is_code {
            fs::read_to_string(&file).unwrap()
        } else {
            String::new()
        };
        let tables = text.split("= Table::new(").skip(1);
        let choices = text.split("= Choice {").skip(1);
        let name = |rest: &str| rest.split('"').nth(1).unwrap().to_owned();
        names.extend(tables.chain(choices).map(name));
    }
    // The table of the whole is the schema itself.
    names.retain(|name| name != "configuration");
    let tables: BTreeSet<_> = names.iter().map(String::as_str).collect();
    assert_eq!(tables.len(), names.len(), "two tables of one name");
    assert_eq!(tables, defined);
}

/// What a schema cannot express, by the messages of the check. docs/configuration.md lists it for users.
const UNEXPRESSED: &[&str] = &[
    // A destination that is not there.
    "points to invalid location",
    "non existing application",
    // What may be there only once.
    "is the same as",
    "Guests would see two folders",
    "is set twice",
    "has been declared for",
    // A value that bounds another.
    "must be less than or equal to",
    "path must be absolute, or relative to",
    // The syntax of strings: destinations, variables, paths, patterns, grants.
    "Request \"pass\" value",
    "Unknown variable",
    "Invalid variable at position",
    "JavaScript (njs) is not supported",
    "is not a valid path",
    "Invalid regular expression",
    "must not contain double \"*\" markers",
    "is encoded but is invalid",
    "The \"address\"",
    "invalid grant",
    "Guests would see the folder",
    "it resolves to \"/\"",
    "must not contain control characters",
];

/// Texts with expressions, which only a file may have, and which the check therefore does not see.
const WITH_EXPRESSIONS: &[&str] = &[
    r#"{"access_log":"${env:LOGS}/access.log"}"#,
    r#"{"settings":{"telemetry":{"endpoint":"${env:E}","protocol":"${env:P:-grpc}"}}}"#,
    r#"{"listeners":{"*:443":{"pass":"routes","tls":{"certificate":"a","session":
        {"tickets":["${file:/run/secrets/key}"]}}}}}"#,
    r#"{"routes":[{"match":{"scheme":"${env:SCHEME}"},"action":{"proxy":"http://${env:BACKEND}"}}]}"#,
    r#"{"applications":{"a":{"type":"wasm","module":"${env:DIR}/a.wasm","authority":"${env:A:-host}",
        "access":{"filesystem":["${env:DIR}",{"path":"${env:DIR}"}],"outbound_http":["${env:API}"]}}}}"#,
    r#"{"applications":{"a":{"type":"${env:TYPE}","module":"/a.wasm"}}}"#,
];

/// In both directions, for the corpus, the examples of the documentation, and mutations of them: what the check
/// accepts the schema accepts, and what the check refuses the schema refuses, too, if it can express the reason.
#[test]
fn the_schema_agrees_with_the_check() {
    let Some(python) = python() else {
        return;
    };
    let examples: Vec<_> = examples().iter().map(|text| tree(text)).collect();
    let expressions: Vec<_> = WITH_EXPRESSIONS.iter().map(|text| tree(text)).collect();
    let mut corpus: Vec<_> = corpus::texts().iter().map(|text| tree(text)).collect();
    if let Some(folder) = env::var_os("CONFIGURATIONS") {
        let recorded = corpus::read(Path::new(&folder));
        assert!(!recorded.is_empty(), "no configurations in {folder:?}");
        corpus.extend(recorded.iter().map(|text| tree(text)));
    }
    let seeds = corpus.iter().chain(&examples);
    let seeds: Vec<_> = seeds.filter(|tree| Config::check(tree).is_ok()).collect();
    let mutations = mutations(&seeds);
    let all = [&examples, &expressions, &corpus, &mutations];
    let all: Vec<_> = all.into_iter().flatten().collect();
    let verdicts = validate(&python, &all);

    let reason = |error: &ConfigError| {
        let mut reasons = UNEXPRESSED.iter().copied();
        reasons.find(|reason| error.detail.contains(reason))
    };
    let mut unexpressed = BTreeSet::new();
    let (mut accepted, mut refused) = (0, 0);
    let mut faults = Vec::new();
    for (tree, verdict) in all.iter().zip(&verdicts) {
        match (Config::check(tree), verdict.as_str()) {
            (Ok(_), "") => accepted += 1,
            (Err(_), error) if !error.is_empty() => refused += 1,
            (Ok(_), error) => faults.push(format!("by the schema only, {error}: {}", print(tree))),
            (Err(error), _) => match reason(&error) {
                Some(reason) => {
                    unexpressed.insert(reason);
                }
                None if expressions.contains(tree) => {}
                None => faults.push(format!("by the check only, {error}: {}", print(tree))),
            },
        }
    }
    let must_pass = examples.len() + expressions.len();
    for (tree, verdict) in all.iter().zip(&verdicts).take(must_pass) {
        assert_eq!(verdict, "", "{}", print(tree));
    }
    let first: Vec<_> = faults.iter().take(20).map(String::as_str).collect();
    assert!(
        faults.is_empty(),
        "{} are refused\n{}",
        faults.len(),
        first.join("\n")
    );
    // A reason that no text has is out of date.
    let reasons: BTreeSet<_> = UNEXPRESSED.iter().copied().collect();
    assert_eq!(unexpressed, reasons);
    assert!(accepted > 400 && refused > 400, "{accepted} and {refused}");
    say(&format!(
        "the schema and the check agree: {accepted} configurations accepted, {refused} refused"
    ));
}

/// A Python that has the validator: that of `cargo xtask schema`, or the machine's own.
fn python() -> Option<OsString> {
    let named = env::var_os("JSONSCHEMA_PYTHON");
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let import = "from jsonschema import Draft202012Validator";
    let has_validator = Command::new(&python)
        .args(["-c", import])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    assert!(
        has_validator || named.is_none(),
        "{python:?} has no jsonschema"
    );
    if has_validator {
        return Some(python);
    }
    say(
        "not run: the_schema_agrees_with_the_check: python3 has no jsonschema; `cargo xtask schema` installs it",
    );
    None
}

/// Not by `eprintln!`, whose output a test that passes takes along.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Reads a schema and, one on each further line, trees. Prints the error of each, or an empty line if it is valid.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator
schema, *trees = open(sys.argv[1], encoding='utf-8').read().split('\\n')
Draft202012Validator.check_schema(json.loads(schema))
validator = Draft202012Validator(json.loads(schema))
for tree in trees:
    error = next(validator.iter_errors(json.loads(tree)), None)
    print(ascii(error.message)[:200] if error else '')
";

/// The validator's error for each tree, or an empty text.
fn validate(python: &OsString, trees: &[&Value]) -> Vec<String> {
    let file = env::temp_dir().join(format!("schema-{}", std::process::id()));
    let lines: Vec<_> = [&json_schema()]
        .into_iter()
        .chain(trees.iter().copied())
        .map(print)
        .collect();
    fs::write(&file, lines.join("\n")).unwrap();
    let output = Command::new(python)
        .args(["-c", VALIDATE])
        .arg(&file)
        .output()
        .unwrap();
    fs::remove_file(&file).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let output = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<_> = output.lines().map(str::to_owned).collect();
    assert_eq!(verdicts.len(), trees.len());
    verdicts
}

/// The blocks of JSON in docs/configuration.md. Those that are a part of a configuration are put in their place.
fn examples() -> Vec<String> {
    let page = folder().join("../../docs/configuration.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```json\n").skip(1);
    let blocks = blocks.filter_map(|rest| Some(rest.split_once("```")?.0));
    let examples: Vec<_> = blocks
        .map(|block| {
            if block.starts_with('"') {
                let is_of_whole = ["routes", "access_log"]
                    .iter()
                    .any(|name| block[1..].starts_with(name));
                return if is_of_whole {
                    format!("{{{block}}}")
                } else {
                    format!(
                        r#"{{"applications":{{"a":{{"type":"wasm","module":"/a.wasm",{block}}}}}}}"#
                    )
                };
            }
            match tree(block).as_object().unwrap().iter().next() {
                Some((name, _)) if name.contains(':') => format!(r#"{{"listeners":{block}}}"#),
                _ => block.to_owned(),
            }
        })
        .collect();
    assert!(examples.len() >= 10, "{}", examples.len());
    examples
}

/// Values that stand where others stood.
const VALUES: &[&str] = &[
    "null",
    "true",
    "\"\"",
    "\"/a\"",
    "\"/..\"",
    "\"http\"",
    "\"http://127.0.0.1:80\"",
    "\"a\\u0000\"",
    "[]",
    "[1]",
    "[\"/a\"]",
    "{}",
    "{\"a\":1}",
    "{\"encoding\":\"gzip\"}",
    "-2",
    "-1.5",
    "-1",
    "-0",
    "1e-300",
    "0",
    "1",
    "1.0",
    "0.5",
    "1001",
    "65536",
    "1e9",
    "2147483647.5",
    "9e18",
    "-9e18",
];

/// Names of members that are added. None ends with a line feed, which Python lets follow a `$`.
const NAMES: &[&str] = &[
    "unknown",
    "",
    "a b",
    "a=b",
    "a\0",
    "a\r",
    "É",
    "Transfer-Encoding",
    "*:8081",
    "[::1]:0080",
    "unix:é",
    "unix:@\0",
    "256.0.0.1:80",
    "127.0.0.1:65536",
    "path",
    "type",
    "concurrency",
    "if",
];

/// Trees in which one value is replaced or removed, or a member is added.
fn mutations(seeds: &[&Value]) -> Vec<Value> {
    let values: Vec<_> = VALUES.iter().map(|text| tree(text)).collect();
    let mut random = Random::new();
    let mut mutations = Vec::new();
    for _ in 0..3_000 * test_mutations::times() {
        let seed = seeds[random.below(seeds.len())];
        let mut paths = Vec::new();
        collect(seed, &crate::Path::default(), &mut paths);
        let path = paths[random.below(paths.len())].clone();
        let value = values[random.below(values.len())].clone();
        let mutation = match random.below(5) {
            0 => crate::delete(seed, &path),
            1 => crate::put(seed, &path.join(NAMES[random.below(NAMES.len())]), value),
            _ => crate::put(seed, &path, value),
        };
        mutations.extend(mutation);
    }
    mutations
}

/// The paths of all values.
fn collect(value: &Value, path: &crate::Path, paths: &mut Vec<crate::Path>) {
    paths.push(path.clone());
    for (name, member) in value.as_object().into_iter().flat_map(Object::iter) {
        collect(member, &path.clone().join(name), paths);
    }
    for (index, element) in value.as_array().into_iter().flatten().enumerate() {
        collect(element, &path.clone().join(&index.to_string()), paths);
    }
}

fn tree(text: &str) -> Value {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The folder of this crate.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
