//! Checks that each defence that the security model claims names a test of it. Owns no test.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::files::TextFile;

/// The page whose tables are checked.
const PAGE: &str = "docs/security.md";

/// The title of the last column of a table whose rows are claims.
const COLUMN: &str = "test";

/// The one list of the cases that front ends share. Its macro makes a test of each.
const SUITE: &str = "crates/test-suite/src/suite.rs";

/// Rows of a table with a column [`COLUMN`] that name no test in code marks there, or a test that does not exist
/// or is not run; each as a line for people. A table ends with an empty line, so that none of its rows can be
/// separated from it by a stray line and escape the check.
///
/// # Errors
///
/// When the page or the list of cases is not there.
pub(super) fn faults(files: &[TextFile]) -> Result<Vec<String>> {
    let text = |path: &str| {
        let file = files.iter().find(|file| file.path == Path::new(path));
        file.map(|file| file.text.as_str())
            .with_context(|| format!("there is no {path}"))
    };
    let mut tests: HashSet<_> = suite_cases(text(SUITE)?).map(str::to_owned).collect();
    let sources = files.iter().filter(|file| file.has_extension("rs"));
    for file in sources.filter(|file| {
        ["crates", "xtask"]
            .iter()
            .any(|it| file.path.starts_with(it))
    }) {
        tests.extend(test_names(&file.text).into_iter().map(str::to_owned));
    }
    let faults = faults_of_page(text(PAGE)?, &tests).into_iter();
    Ok(faults.map(|fault| format!("{PAGE}: {fault}")).collect())
}

fn faults_of_page(page: &str, tests: &HashSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut is_checked = false;
    for (number, line) in (1..).zip(page.lines()) {
        let Some(row) = line
            .strip_prefix('|')
            .and_then(|row| row.trim_end().strip_suffix('|'))
        else {
            if is_checked && !line.trim().is_empty() {
                faults.push(format!("line {number}: a table ends with an empty line"));
            }
            is_checked = false;
            continue;
        };
        let last = row.rsplit('|').next().unwrap_or_default().trim();
        if last == COLUMN {
            is_checked = true;
        } else if is_checked && !last.starts_with("---") {
            let mut named = last.split('`').skip(1).step_by(2).peekable();
            if named.peek().is_none() {
                faults.push(format!("line {number}: the row names no test"));
            }
            let missing = named.filter(|test| !tests.contains(*test));
            faults.extend(
                missing.map(|test| {
                    format!("line {number}: there is no test `{test}`, or it is not run")
                }),
            );
        }
    }
    faults
}

/// The functions with an attribute `#[test]` or `#[tokio::test]` and without one that has them left out.
fn test_names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    // The attributes above the present line; one may take several lines.
    let mut attributes = String::new();
    let mut open_brackets = 0;
    for line in text.lines().map(str::trim) {
        if open_brackets > 0 || line.starts_with("#[") {
            let count = |bracket| line.matches(bracket).count();
            open_brackets = (open_brackets + count('[')).saturating_sub(count(']'));
            attributes.push_str(line);
            continue;
        }
        if line.starts_with("//") {
            continue;
        }
        let is_test = ["#[test]", "#[tokio::test]", "#[tokio::test("]
            .iter()
            .any(|it| attributes.contains(it));
        let is_left_out = attributes.split("#[").any(|attribute| {
            let is_conditional = attribute.starts_with("cfg_attr");
            attribute.starts_with("ignore") || (is_conditional && attribute.contains("ignore"))
        });
        if is_test && !is_left_out {
            names.extend(function_name(line));
        }
        attributes.clear();
    }
    names
}

/// The name of the function whose declaration begins on this line.
fn function_name(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let is_declared = before
        .split_whitespace()
        .all(|word| matches!(word, "pub" | "async" | "pub(crate)" | "pub(super)"));
    let end = rest.find(|it: char| !it.is_alphanumeric() && it != '_')?;
    is_declared.then_some(&rest[..end])
}

/// The cases in the lists of the suite's macro.
fn suite_cases(text: &str) -> impl Iterator<Item = &str> {
    // After each `@area $front, NAME:` the cases of that area, to the closing brace.
    let lists = text.split("@area $front, ").skip(1);
    let lists = lists.filter_map(|list| Some(list.split_once(":\n")?.1.split_once('}')?.0));
    lists.flat_map(str::lines).filter_map(|line| {
        let case = line.trim().strip_suffix(',')?;
        case.split(" [").next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_without_a_test_or_with_one_that_is_gone_is_a_fault() {
        let tests = ["smuggling", "slow_clients_are_reset"].map(str::to_owned);
        let page = "| a | test |\n| --- | --- |\n| x | `smuggling`, `slow_clients_are_reset` |\n\
                    | y | by hand |\n| z | `smuggling`, `gone` |\n\nText\n| b | |\n| --- | --- |\n| w | |\n";
        let faults = faults_of_page(page, &tests.into());
        assert_eq!(
            faults,
            [
                "line 4: the row names no test",
                "line 5: there is no test `gone`, or it is not run"
            ]
        );
    }

    #[test]
    fn a_line_that_is_no_row_does_not_end_a_table() {
        let page = "| a | test |\n| --- | --- |\n| x | `smuggling` |\n@TODO@\n| y | |\n";
        let faults = faults_of_page(page, &HashSet::from(["smuggling".to_owned()]));
        assert_eq!(faults, ["line 4: a table ends with an empty line"]);
    }

    #[test]
    fn only_a_function_that_is_run_as_a_test_counts_as_one() {
        let code = "    #[tokio::test]\n    async fn slow_clients_are_reset() {\n// #[test]\nfn helper() {\n\
                    #[test]\n/// Why.\n#[expect(\n    clippy::panic,\n    reason = \"[ignored]\"\n)]\nfn smuggling() {\n\
                    #[test]\n#[ignore = \"slow\"]\nfn left_out() {\n#[test]\n#[cfg_attr(miri, ignore)]\n\
                    fn left_out_at_times() {\n#[tokio::test(flavor = \"multi_thread\")]\npub async fn threads() {\n\
                    #[must_use]\npub fn another<T>(\n";
        assert_eq!(
            test_names(code),
            ["slow_clients_are_reset", "smuggling", "threads"]
        );
    }

    #[test]
    fn only_cases_in_the_lists_of_the_suite_count_as_tests() {
        let suite = "($front:expr) => {\n  $crate::http_suite! { @area $front, logs:\n    one,\n    \
                     two [Http2],\n  }\n}\n(@area $front:expr, $area:ident: $($case:ident,)*) => {\n\
                     fn three() {\n";
        let cases: Vec<_> = suite_cases(suite).collect();
        assert_eq!(cases, ["one", "two"]);
    }
}
