//! Checks that each defence that the security model claims names a test of it. Owns no test.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::root;

/// The page whose tables are checked.
const PAGE: &str = "docs/security.md";

/// The title of the last column of a table whose rows are claims.
const COLUMN: &str = "test";

/// Checks that each row of a table with a column [`COLUMN`] names at least one function in code marks there, and that
/// all that it names exist.
pub(crate) fn check() -> Result<()> {
    let text = fs::read_to_string(root().join(PAGE)).context(PAGE)?;
    let mut functions = HashSet::new();
    for folder in ["crates", "xtask"] {
        collect_functions(&root().join(folder), &mut functions)?;
    }
    let faults = faults(&text, &functions);
    if !faults.is_empty() {
        bail!("{PAGE}:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

fn faults(page: &str, functions: &HashSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut is_checked = false;
    for (number, line) in (1..).zip(page.lines()) {
        let Some(row) = line
            .strip_prefix('|')
            .and_then(|row| row.trim_end().strip_suffix('|'))
        else {
            is_checked = false;
            continue;
        };
        let last = row.rsplit('|').next().unwrap_or_default().trim();
        if last == COLUMN {
            is_checked = true;
        } else if is_checked && !last.starts_with("---") {
            let mut tests = last.split('`').skip(1).step_by(2).peekable();
            if tests.peek().is_none() {
                faults.push(format!("line {number}: the row names no test"));
            }
            let missing = tests.filter(|test| !functions.contains(*test));
            faults.extend(missing.map(|test| format!("line {number}: there is no test `{test}`")));
        }
    }
    faults
}

/// The names of all functions in the Rust files below a folder.
fn collect_functions(folder: &Path, functions: &mut HashSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect_functions(&path, functions)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            functions.extend(function_names(&text).map(str::to_owned));
        }
    }
    Ok(())
}

fn function_names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (before, rest) = line.split_once("fn ")?;
        let is_declared = before
            .split_whitespace()
            .all(|word| matches!(word, "pub" | "async" | "pub(crate)" | "pub(super)"));
        let end = rest.find(|it: char| !it.is_alphanumeric() && it != '_')?;
        is_declared.then_some(&rest[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_without_a_test_or_with_one_that_is_gone_is_a_fault() {
        let code =
            "    async fn slow_clients_are_reset() {\n// see fn gone() {\npub fn smuggling<T>(";
        let functions: HashSet<_> = function_names(code).map(str::to_owned).collect();
        assert_eq!(functions.len(), 2, "{functions:?}");
        let page = "| a | test |\n| --- | --- |\n| x | `smuggling`, `slow_clients_are_reset` |\n\
                    | y | by hand |\n| z | `smuggling`, `gone` |\n\nText\n| b | |\n| --- | --- |\n| w | |\n";
        let faults = faults(page, &functions);
        assert_eq!(
            faults,
            [
                "line 4: the row names no test",
                "line 5: there is no test `gone`"
            ]
        );
    }
}
