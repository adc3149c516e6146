//! The rule that a measured figure stands on one page, and that others link to it: two places soon differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::files::TextFile;

/// A number with a unit. A limit such as 64 KiB or 100 ms looks like one, too; [`is_measured`] tells.
static FIGURE: LazyLock<Regex> = LazyLock::new(|| {
    let number = "[0-9][0-9,]*(?:[.][0-9]+)?";
    let unit = "(?:[KMG]i?B|kB|ns|µs|ms|s|%|times|requests/s|requests/second|instructions)";
    #[expect(
        clippy::expect_used,
        reason = "the pattern is constant, and tested below"
    )]
    Regex::new(&format!("({number}) ?({unit})(?:[^a-zA-Z0-9/]|$)")).expect("a pattern")
});

/// The figures that stand on several pages, each as a line for people.
pub(super) fn faults<'a>(pages: impl Iterator<Item = &'a TextFile>) -> Vec<String> {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for page in pages {
        for figure in figures(&page.text) {
            let place = page.path.display().to_string();
            places.entry(figure).or_default().insert(place);
        }
    }
    places
        .into_iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(figure, places)| {
            let places: Vec<_> = places.into_iter().collect();
            format!(
                "{figure} is repeated in {}; keep one, and link to it",
                places.join(" and ")
            )
        })
        .collect()
}

/// The measured figures of a text, with their units.
fn figures(text: &str) -> BTreeSet<String> {
    let found = FIGURE.captures_iter(text);
    let figures = found.filter_map(|figure| {
        let (_, [number, unit]) = figure.extract();
        is_measured(number).then(|| format!("{number} {unit}"))
    });
    figures.collect()
}

/// Whether a number looks like the result of a measurement: limits and defaults are round, or powers of two.
fn is_measured(number: &str) -> bool {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_matches('0').len();
    let is_power_of_two =
        !number.contains('.') && digits.parse::<u64>().is_ok_and(u64::is_power_of_two);
    let enough = if number.contains('.') { 2 } else { 3 };
    significant >= enough && !is_power_of_two
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_on_two_pages_is_found_and_limits_are_not() {
        let page = |path: &str, text: &str| TextFile {
            path: path.into(),
            text: text.to_owned(),
        };
        let pages = [
            page(
                "a.md",
                "It takes 1.95 times as long; 13,430 requests/s, 64 KiB, 0.5 s, 1,024 MB.",
            ),
            page(
                "b.md",
                "13,430 requests/s; 64 KiB, 0.5 s, 500 ms, 1,024 MB and 1.95.",
            ),
        ];
        assert_eq!(
            faults(pages.iter()),
            ["13,430 requests/s is repeated in a.md and b.md; keep one, and link to it"]
        );
        assert_eq!(
            figures(&pages[0].text).into_iter().collect::<Vec<_>>(),
            ["1.95 times", "13,430 requests/s"]
        );
    }
}
