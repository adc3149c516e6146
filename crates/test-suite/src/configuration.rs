//! Texts of configurations.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

use crate::ports::free_address;

/// These guests, each as the application of its name, on the address `{name}`.
#[must_use]
pub fn guests(names: &[&str]) -> String {
    let with: Vec<(&str, &str)> = names.iter().map(|name| (*name, "")).collect();
    guests_with(&with)
}

/// The same, with more members for each application, such as `"limits": {"timeout": 1}`.
#[must_use]
pub fn guests_with(guests: &[(&str, &str)]) -> String {
    let applications = guests
        .iter()
        .map(|(name, members)| {
            let file = test_components::guest(name);
            (*name, application(&file, members))
        })
        .collect::<Vec<_>>();
    applications_of(&applications)
}

/// One component as the application `name`, on the address `{name}`.
#[must_use]
pub fn component(name: &str, file: &Path) -> String {
    applications_of(&[(name, application(file, ""))])
}

/// The text of one application.
#[must_use]
pub fn application(file: &Path, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { ", " };
    format!(
        r#"{{"type": "wasm-wasi-component", "component": "{}"{comma}{members}}}"#,
        file.display()
    )
}

/// The text of one listener.
#[must_use]
pub fn listener(application: &str) -> String {
    format!(r#"{{"pass": "applications/{application}"}}"#)
}

/// Applications by name, each on the address of its name.
#[must_use]
pub fn applications_of(applications: &[(&str, String)]) -> String {
    let listeners: Vec<_> = applications
        .iter()
        .map(|(name, _)| format!(r#""{{{name}}}": {}"#, listener(name)))
        .collect();
    let applications: Vec<_> = applications
        .iter()
        .map(|(name, application)| format!(r#""{name}": {application}"#))
        .collect();
    format!(
        r#"{{"listeners": {{ {} }}, "applications": {{ {} }}}}"#,
        listeners.join(", "),
        applications.join(", ")
    )
}

/// Replaces each `{name}` by an address. No text of JSON's own looks like that.
pub(crate) fn fill_in(text: &str, addresses: &mut BTreeMap<String, SocketAddr>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (before, after) = rest.split_at(start + 1);
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        match end {
            Some(end) if end > 0 && after[end..].starts_with('}') => {
                let address = addresses
                    .entry(after[..end].to_owned())
                    .or_insert_with(free_address);
                filled.push_str(&before[..start]);
                filled.push_str(&address.to_string());
                rest = &after[end + 1..];
            }
            _ => {
                filled.push_str(before);
                rest = after;
            }
        }
    }
    filled + rest
}

/// Writes a text to the folder that `RECORD_CONFIGURATIONS` names, if it is set: `cargo xtask test` collects what
/// servers have accepted, for the test of the JSON Schema.
pub(crate) fn record(text: &str) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let Some(folder) = env::var_os("RECORD_CONFIGURATIONS") else {
        return;
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let file = format!("suite-{}-{number}.json", process::id());
    fs::write(Path::new(&folder).join(file), text).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_braces_become_addresses_and_nothing_else_changes() {
        let mut addresses = BTreeMap::new();
        let text = fill_in(r#"{"{a}": {}, "b": {"{a}": "{c_1}"}}"#, &mut addresses);
        let (a, c) = (addresses["a"], addresses["c_1"]);
        assert_eq!(text, format!(r#"{{"{a}": {{}}, "b": {{"{a}": "{c}"}}}}"#));
        assert_ne!(a, c);
    }
}
