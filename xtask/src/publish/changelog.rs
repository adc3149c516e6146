//! What CHANGELOG.md says about a version, and the notes of a release made of it.

use std::sync::LazyLock;

use regex::Regex;

use super::signature::{IDENTITY, NAMESPACE};

/// A link: its text, which may have line breaks, and its target.
static LINK: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "the pattern is constant, and tested below"
    )]
    Regex::new(r"\[([^\]\[]+)\]\(([^) \n]+)\)").expect("a pattern")
});

static DATE: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "the pattern is constant, and tested below"
    )]
    Regex::new("^[0-9]{4}-[0-9]{2}-[0-9]{2}$").expect("a pattern")
});

/// The section of one version.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Section<'a> {
    /// What stands after the version in the heading.
    date: &'a str,
    /// All lines after the heading.
    body: &'a str,
}

/// The section `## [version] - date` of a changelog in the format of Keep a Changelog.
pub(super) fn section<'a>(changelog: &'a str, version: &str) -> Option<Section<'a>> {
    let heading = format!("## [{version}]");
    let mut at = 0;
    let mut found: Option<(&str, usize)> = None;
    for line in changelog.split_inclusive('\n') {
        let next = at + line.len();
        match found {
            Some((date, body)) if is_end(line) => {
                let body = changelog[body..at].trim();
                return Some(Section { date, body });
            }
            None if line.starts_with(&heading) => {
                let date = line[heading.len()..].trim();
                found = Some((date.trim_start_matches(['-', '–', ' ']), next));
            }
            _ => {}
        }
        at = next;
    }
    found.map(|(date, body)| Section {
        date,
        body: changelog[body..].trim(),
    })
}

/// Whether a line begins something else: another section, or the targets of links at the end of the file.
fn is_end(line: &str) -> bool {
    line.starts_with("## ") || (line.starts_with('[') && line.contains("]: "))
}

/// Why the version must not be released, each as a line for people.
pub(super) fn faults(version: &str, section: Option<&Section>, changelog: &str) -> Vec<String> {
    let mut faults = Vec::new();
    match section {
        None => faults.push(format!(
            "CHANGELOG.md has no section `## [{version}] - DATE`; what is released has to be in one"
        )),
        Some(Section { body: "", .. }) => {
            faults.push(format!("the section {version} of CHANGELOG.md is empty"));
        }
        Some(Section { date, .. }) if !DATE.is_match(date) => faults.push(format!(
            "the section {version} of CHANGELOG.md has the date {date:?}, not one of the form 2026-12-31"
        )),
        Some(_) => {}
    }
    let unreleased = self::section(changelog, "Unreleased");
    if unreleased.is_some_and(|unreleased| !unreleased.body.is_empty()) {
        faults.push(format!(
            "CHANGELOG.md has entries under Unreleased; move them to the section {version}"
        ));
    }
    faults
}

/// The draft of the notes of a release, in Markdown.
pub(super) fn notes(version: &str, section: &Section, is_signed: bool) -> String {
    let body = without_relative_links(section.body);
    let mut notes =
        format!("# wasmtime-unitd {version}\n\n{body}\n\n## Verifying the files\n\n```\n");
    if is_signed {
        notes.push_str(&format!(
            "ssh-keygen -Y verify -f release-signers -I {IDENTITY} -n {NAMESPACE} \\\n    \
             -s SHA256SUMS.sig < SHA256SUMS\n"
        ));
    }
    notes.push_str("sha256sum --ignore-missing --check SHA256SUMS\n```\n");
    if is_signed {
        notes.push_str(
            "\n`release-signers` is a file of the repository. Take it from a clone that you trust, not from\n\
             where these files came from.\n",
        );
    }
    notes
}

/// A text whose links to files of the repository are their text alone: notes stand on a page where such links
/// lead nowhere.
fn without_relative_links(text: &str) -> String {
    let replaced = LINK.replace_all(text, |link: &regex::Captures<'_>| {
        let (whole, text, target) = (&link[0], &link[1], &link[2]);
        if target.contains("://") { whole } else { text }.to_owned()
    });
    replaced.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\nText.\n\n## [Unreleased]\n\n## [0.2.0] - 2027-01-31\n\n### Added\n\n\
                             - One.\n\n#### More\n\n- Two.\n\n## [0.2.0-rc.1] - 2027-01-01\n\n- Three.\n\n\
                             ## [0.1.0]\n\n- Four.\n\n[0.1.0]: https://example.com/v0.1.0\n";

    #[test]
    fn a_section_ends_where_the_next_one_or_the_links_begin() {
        let found = section(CHANGELOG, "0.2.0").unwrap();
        assert_eq!(found.date, "2027-01-31");
        assert_eq!(found.body, "### Added\n\n- One.\n\n#### More\n\n- Two.");
        assert_eq!(section(CHANGELOG, "0.2.0-rc.1").unwrap().body, "- Three.");
        assert_eq!(section(CHANGELOG, "0.1.0").unwrap().body, "- Four.");
        assert_eq!(section(CHANGELOG, "0.2"), None);
        assert_eq!(section("## [1.0.0] - x\n- a", "1.0.0").unwrap().body, "- a");
    }

    #[test]
    fn a_version_with_a_dated_section_may_be_released() {
        let section = section(CHANGELOG, "0.2.0");
        assert_eq!(faults("0.2.0", section.as_ref(), CHANGELOG), [""; 0]);
    }

    #[test]
    fn a_missing_empty_or_undated_section_and_unreleased_entries_are_faults() {
        let of = |changelog: &str| {
            let faults = faults("1.0.0", section(changelog, "1.0.0").as_ref(), changelog);
            faults.join("; ")
        };
        assert!(of("").contains("has no section `## [1.0.0] - DATE`"));
        assert!(of("## [1.0.0] - 2027-01-31\n\n## [0.9.0]\n").contains("is empty"));
        assert!(of("## [1.0.0]\n- a\n").contains("the date \"\""));
        assert!(of("## [1.0.0] - soon\n- a\n").contains("the date \"soon\""));
        let entries = of("## [Unreleased]\n- b\n## [1.0.0] - 2027-01-31\n- a\n");
        assert!(entries.starts_with("CHANGELOG.md has entries under Unreleased"));
    }

    #[test]
    fn notes_have_the_entries_and_how_to_verify_the_files() {
        let section = section(CHANGELOG, "0.2.0").unwrap();
        let unsigned = notes("0.2.0", &section, false);
        assert!(unsigned.starts_with("# wasmtime-unitd 0.2.0\n\n### Added\n\n- One."));
        assert!(unsigned.contains("sha256sum") && !unsigned.contains("ssh-keygen"));
        let signed = notes("0.2.0", &section, true);
        assert!(signed.contains("sha256sum") && signed.contains("ssh-keygen -Y verify"));
    }

    #[test]
    fn relative_links_of_the_notes_become_text() {
        let text =
            "See [the\npage](docs/a.md#b), [c](https://example.com/d) and `[u8](x)`-like [e].";
        assert_eq!(
            without_relative_links(text),
            "See the\npage, [c](https://example.com/d) and `u8`-like [e]."
        );
    }
}
