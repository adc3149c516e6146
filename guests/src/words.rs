//! What a test asks of a guest in the request's query, whichever version of WASI it is for.

use std::time::{Duration, Instant};

pub(crate) fn of_path(path: &str) -> Vec<String> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The first number among the words, or 0.
#[must_use]
pub fn number(words: &[String]) -> u64 {
    words.iter().find_map(|word| word.parse().ok()).unwrap_or(0)
}

/// The number that `NAME=N` among the words says, or 0.
#[must_use]
pub fn value(words: &[String], name: &str) -> u64 {
    let value = |word: &String| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    words.iter().find_map(value).unwrap_or(0)
}

/// Computes for so many milliseconds.
pub fn compute(milliseconds: u64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(milliseconds) {
        std::hint::black_box(());
    }
}

/// The authority and the path of a URL.
///
/// # Panics
///
/// When there is no scheme.
#[must_use]
pub fn authority_and_path(url: &str) -> (&str, &str) {
    let (_, rest) = url.split_once("://").unwrap();
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}
