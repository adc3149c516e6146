//! Checks that what the documentation points to is there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::root;

/// Top folders of this repository: a word in code marks that starts with one of them is a path.
const FOLDERS: [&str; 7] = [
    ".cargo/", ".ci/", "crates/", "docs/", "example/", "guests/", "xtask/",
];

/// Checks every Markdown file at the top and in `docs/`: its relative links, with the headings that they
/// lead to, and the paths that it names in code marks.
pub(crate) fn check() -> Result<()> {
    let mut missing = Vec::new();
    for file in files()? {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let folder = file.parent().unwrap_or(root());
        let links = links(&text).filter(|link| !leads(link, folder, &text));
        let paths = paths(&text).filter(|path| !root().join(path).exists());
        let name = file.strip_prefix(root()).unwrap_or(&file).display();
        missing
            .extend(placeholders(&text).map(|line| format!("{name} has the placeholder {line}")));
        missing.extend(
            links
                .chain(paths)
                .map(|path| format!("{name} names {path}")),
        );
    }
    if !missing.is_empty() {
        bail!(
            "the documentation is incomplete, or names what is not there:\n  {}",
            missing.join("\n  ")
        );
    }
    Ok(())
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

fn files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in [root().to_owned(), root().join("docs")] {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
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
