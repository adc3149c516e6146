//! What of the configuration in force keeps the server from being ready.

use std::collections::HashSet;

use control::Health;
use server::Address;
use untrusted_text::excerpt;

use super::state::ActiveState;
use crate::addresses::address;

/// The keys of problems.
const APPLICATIONS: &str = "applications";
const LISTENERS: &str = "listeners";

/// Names in one problem; the number of the others follows.
const MAX_NAMES: usize = 3;

/// Reports the problems of `state`, and that those are gone which it does not have. `listening` are the addresses that
/// are listened on. Returns whether all of the configuration is served.
pub(super) fn report(health: &Health, state: &ActiveState, listening: &[Address]) -> bool {
    let no_configuration = "no configuration yet: no listeners are configured";
    let is_empty = state.listeners.is_empty();

    let applications = state.applications.values();
    let failed = applications.filter(|loaded| loaded.application.is_none());
    let failed = failed.map(|loaded| loaded.config.name.as_str());

    let listening: HashSet<_> = listening.iter().collect();
    let wanted = state.listeners.iter().map(address);
    // `serve` may have port 0, for which another one is in `listening`. It ends if it cannot listen there.
    let is_open = |wanted: &Address| {
        matches!(wanted, Address::Tcp(address) if address.port() == 0) || listening.contains(wanted)
    };
    let closed = wanted.filter(|wanted| !is_open(wanted));
    let closed: Vec<_> = closed.map(|address| address.to_string()).collect();
    let closed = closed.iter().map(String::as_str);
    let failed = problem("not loaded: applications", failed);
    let closed = problem("not open: listeners", closed);
    let is_complete = failed.is_none() && closed.is_none();
    health.set_problems([
        (
            Health::CONFIGURATION,
            is_empty.then(|| no_configuration.to_owned()),
        ),
        (APPLICATIONS, failed),
        (LISTENERS, closed),
    ]);
    is_complete
}

/// What is wrong with the things of these names, in their order. `None` without names.
fn problem<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    let shown = names.iter().take(MAX_NAMES);
    let shown: Vec<_> = shown.map(|name| format!("\"{}\"", excerpt(name))).collect();
    let shown = shown.join(", ");
    match names.len() {
        0 => None,
        count if count > MAX_NAMES => {
            Some(format!("{what} {shown} and {} more", count - MAX_NAMES))
        }
        _ => Some(format!("{what} {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_a_few_in_order_and_counts_the_others() {
        let text = |names: &[&str]| problem("not loaded: applications", names.iter().copied());
        assert_eq!(text(&[]), None);
        let three = text(&["c", "a\n", "b"]).unwrap();
        assert_eq!(three, r#"not loaded: applications "a\n", "b", "c""#);
        let long = "x".repeat(1 << 20);
        let many = text(&["e", "a", "b", "d", &long]).unwrap();
        assert_eq!(many, r#"not loaded: applications "a", "b", "d" and 2 more"#);
        assert!(text(&[&long]).unwrap().len() < 200);
    }
}
