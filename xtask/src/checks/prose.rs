//! The rules for prose: lines are wrapped, each Rust file begins with what it owns, and no word of
//! `words.txt` is used.

use super::files::TextFile;

/// The longest line of prose, in characters.
const MAX_LINE: usize = 120;

/// The longest cell of a table, in characters: two lines.
const MAX_CELL: usize = 240;

/// Methods of the standard library that read like banned words.
const METHODS: [&str; 3] = [".is_none()", ".is_none_or(", "::is_none"];

const WORDS: &str = include_str!("words.txt");

/// What is wrong with a file, each as a line for people.
pub(super) fn faults(file: &TextFile) -> Vec<String> {
    let mut faults = if file.has_extension("rs") {
        rust_faults(&file.text)
    } else {
        markdown_faults(&file.text)
    };
    faults.extend(banned_words(&file.text));
    let path = file.path.display();
    faults
        .into_iter()
        .map(|(line, fault)| format!("{path}:{line}: {fault}"))
        .collect()
}

/// A line, and what is wrong with it.
type Fault = (usize, String);

fn rust_faults(text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        let fault = "the file does not begin with a `//!` line that says what it owns";
        faults.push((1, fault.to_owned()));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let length = line.chars().count();
        if length > MAX_LINE && line.trim_start().starts_with("//") && is_prose(line) {
            faults.push((number, too_long("comment", length, MAX_LINE)));
        }
    }
    faults
}

fn markdown_faults(text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut is_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if is_code {
        } else if let Some(row) = line.strip_prefix('|') {
            let longest = row.split('|').map(|cell| cell.trim().chars().count()).max();
            if let Some(length) = longest.filter(|length| *length > MAX_CELL) {
                faults.push((number, too_long("table cell", length, MAX_CELL)));
            }
        } else {
            let length = line.chars().count();
            if length > MAX_LINE && is_prose(line) {
                faults.push((number, too_long("line", length, MAX_LINE)));
            }
        }
    }
    faults
}

fn too_long(what: &str, length: usize, most: usize) -> String {
    format!("a {what} of {length} characters; wrap it at {most}")
}

/// Whether a line could be wrapped: it is not one long word, such as an address.
fn is_prose(line: &str) -> bool {
    line.split_whitespace()
        .all(|word| word.chars().count() < MAX_LINE / 2)
}

fn banned_words(text: &str) -> Vec<Fault> {
    let text = Flowing::new(text);
    let mut faults = Vec::new();
    for (word, advice) in banned() {
        let found = text
            .find(word)
            .map(|line| (line, format!("`{word}`: {advice}")));
        faults.extend(found);
    }
    faults
}

/// Each banned word with the advice for it.
fn banned() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = WORDS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('\t'))
}

/// A text in lower case as one line, without the marks of comments: so that words are found across the
/// ends of lines.
struct Flowing {
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl Flowing {
    fn new(text: &str) -> Self {
        let mut this = Self {
            text: String::with_capacity(text.len()),
            starts: Vec::new(),
        };
        for line in text.lines() {
            this.starts.push(this.text.len());
            let mut line = line.trim_start().trim_start_matches(['/', '!']).to_owned();
            for method in METHODS {
                line = line.replace(method, "");
            }
            for letter in line.trim().chars() {
                let letter = if letter == '_' { ' ' } else { letter };
                this.text.extend(letter.to_lowercase());
            }
            this.text.push(' ');
        }
        this
    }

    /// The lines on which these words begin.
    fn find(&self, words: &str) -> impl Iterator<Item = usize> {
        let found = self.text.match_indices(words);
        let is_whole = |at: usize| {
            let (before, after) = (&self.text[..at], &self.text[at + words.len()..]);
            !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
        };
        found
            .filter(move |(at, _)| is_whole(*at))
            .map(|(at, _)| self.starts.partition_point(|start| *start <= at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(name: &str, text: &str) -> Vec<String> {
        faults(&TextFile {
            path: name.into(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn a_file_without_a_head_and_a_long_comment_are_found() {
        let long = "word ".repeat(30);
        let text = format!("use std::fs;\n    // {long}\n    let text = \"{long}\";\n");
        let length = 7 + long.len();
        assert_eq!(
            faults_of("a.rs", &text),
            [
                "a.rs:1: the file does not begin with a `//!` line that says what it owns"
                    .to_owned(),
                format!("a.rs:2: a comment of {length} characters; wrap it at 120"),
            ]
        );
    }

    #[test]
    fn unwrapped_prose_and_large_cells_are_found_and_code_is_not() {
        let long = "word ".repeat(50);
        let address = format!("[a]: https://{}", "a".repeat(200));
        let text = format!("{long}\n```\n{long}\n```\n| a |\n| {long}|\n{address}\n");
        assert_eq!(
            faults_of("a.md", &text),
            [
                "a.md:1: a line of 250 characters; wrap it at 120",
                "a.md:6: a table cell of 249 characters; wrap it at 240",
            ]
        );
    }

    #[test]
    fn banned_words_are_found_in_names_and_across_lines() {
        // In pieces, so that this file passes its own check.
        let words = ["is", "none"].join(" ");
        let text = format!(
            "//! A.\nfn a_cell_{}() {{}}\n// what is\n// none.\n",
            words.replace(' ', "_")
        );
        let advice = "is not one; is invalid";
        assert_eq!(
            faults_of("a.rs", &text),
            [2, 3].map(|line| format!("a.rs:{line}: `{words}`: {advice}"))
        );
    }

    #[test]
    fn each_banned_word_has_advice() {
        let lines = WORDS.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(banned().count(), lines.count());
        assert!(banned().all(|(word, advice)| word == word.to_lowercase() && !advice.is_empty()));
    }
}
