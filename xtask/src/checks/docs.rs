//! Checks that what the documentation points to is there.

use std::fs;
use std::path::Path;

use super::files::TextFile;
use crate::command::root;

/// Top folders of this repository: a word in code marks that starts with one of them is a path.
const FOLDERS: [&str; 9] = [
    "fuzz/",
    ".cargo/",
    ".ci/",
    "crates/",
    "docs/",
    "example/",
    "guests/",
    "packaging/",
    "xtask/",
];

/// What the Markdown files at the top and in `docs/` point to and is not there: by relative links, with the
/// headings that they lead to, and by the paths that they name in code marks. Each as a line for people.
pub(super) fn faults(files: &[TextFile]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| is_page(file)) {
        let TextFile { path, text } = file;
        let folder = root().join(path.parent().unwrap_or(path));
        let links = links(text).filter(|link| !leads(link, &folder, text));
        let paths = paths(text).filter(|path| !root().join(path).exists());
        let name = path.display();
        faults.extend(placeholders(text).map(|line| format!("{name} has the placeholder {line}")));
        let missing = links.chain(paths);
        faults.extend(missing.map(|path| format!("{name} names {path}, which does not exist")));
    }
    faults
}

fn is_page(file: &TextFile) -> bool {
    let is_at_top = file.path.parent() == Some(Path::new(""));
    file.has_extension("md") && (is_at_top || file.path.starts_with("docs"))
}

/// Lines such as `@FIGURES@`, which stand for what is still to be written.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| {
        let word = line
            .strip_prefix('@')
            .and_then(|line| line.strip_suffix('@'));
        word.is_some_and(|word| {
            !word.is_empty() && word.chars().all(|letter| letter.is_ascii_uppercase())
        })
    })
}

/// The targets of `[text](target)` that are in this repository.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    targets
        .map(|(target, _)| target)
        .filter(|target| !target.contains("://"))
}

/// Whether a link in a text of this folder leads to a file, and to a heading in it if it names one.
fn leads(link: &str, folder: &Path, text: &str) -> bool {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    if heading.is_empty() {
        return folder.join(file).exists();
    }
    let other = || fs::read_to_string(folder.join(file)).unwrap_or_default();
    let text = if file.is_empty() {
        text.to_owned()
    } else {
        other()
    };
    headings(&text).any(|known| known == heading)
}

/// What links call the headings of a text.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
        kept.map(|it| if it == ' ' { '-' } else { it }).collect()
    })
}

/// The words in `code marks` that are paths from the top of this repository.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
        // A name that stands for many is no path.
        .filter(|word| !word.contains([' ', '*', '<', '{', '…']) && !has_placeholder(word))
}

/// `NAME` in `guests/examples/NAME.rs`.
fn has_placeholder(word: &str) -> bool {
    Path::new(word).iter().any(|part| {
        let part = part.to_string_lossy();
        let stem = part.split('.').next().unwrap_or_default();
        !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_uppercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_paths_are_found() {
        let text = "See [a](docs/a.md#b), [c](https://d/e) and `crates/x/src` or `cargo test`,\n\
                    not `guests/examples/NAME.rs`, `crates/*` nor [f](#g).";
        assert_eq!(links(text).collect::<Vec<_>>(), ["docs/a.md#b", "#g"]);
        assert_eq!(paths(text).collect::<Vec<_>>(), ["crates/x/src"]);
    }

    #[test]
    fn a_placeholder_is_found() {
        let text = "Text\n@FIGURES@\n@ @\nunix:@NAME\n@@\n";
        assert_eq!(placeholders(text).collect::<Vec<_>>(), ["@FIGURES@"]);
    }

    #[test]
    fn a_link_leads_to_a_heading_or_nowhere() {
        let text = "# A server's `--flags`, and why\n## B\nno # heading\n";
        let known: Vec<_> = headings(text).collect();
        assert_eq!(known, ["a-servers---flags-and-why", "b"]);
        assert!(leads("#b", Path::new("nowhere"), text));
        assert!(!leads("#c", Path::new("nowhere"), text));
        assert!(!leads("nowhere.md#b", Path::new("nowhere"), text));
    }
}
