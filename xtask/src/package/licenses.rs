//! The licences of all that a program is built of, with the texts that their authors ask to be passed on.
//!
//! They are the files that the sources of the packages have. cargo-about, which also finds licences in the headers of
//! source files, takes minutes for it; `cargo xtask dependencies` has checked what licences there are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::folders;
use crate::command::{cargo, output};

/// The list's file.
pub(crate) const FILE: &str = "third-party-licenses.txt";

/// How the names of files begin that have licences and notices.
const BEGINNINGS: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "unlicense",
];

/// A package of another project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Dependency {
    name: String,
    version: String,
    /// As an SPDX expression.
    license: String,
}

/// Writes the list for a package of this repository, as it is built for a target, and says where it is.
///
/// # Errors
///
/// When cargo fails, or the sources of a dependency are not here.
pub(crate) fn write(package: &str, target: &str) -> Result<PathBuf> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--package", package]);
    tree.args(["--edges", "normal", "--prefix", "none", "--target", target]);
    let dependencies = dependencies(&output(tree.args(["--format", "{p}|{l}"]))?);
    let mut metadata = cargo();
    metadata.args(["metadata", "--locked", "--format-version", "1"]);
    let metadata = output(metadata.args(["--filter-platform", target]))?;

    let mut texts: BTreeMap<String, Vec<&Dependency>> = BTreeMap::new();
    for dependency in &dependencies {
        let folder = source_folder(&metadata, dependency)
            .with_context(|| format!("where are the sources of {}?", dependency.name))?;
        for text in license_texts(&folder)? {
            let of = texts.entry(text).or_default();
            of.push(dependency);
        }
    }
    let folder = folders::packages("licenses").join(target);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let file = folder.join(FILE);
    fs::write(&file, list(package, &dependencies, &texts)).with_context(|| FILE.to_owned())?;
    Ok(file)
}

/// Makes sure that the list has the packages that the daemon is built of, and their texts.
///
/// # Errors
///
/// When it cannot be made, or lacks one.
pub(super) fn test() -> Result<Option<String>> {
    let file = write("wasmtime-unitd", "x86_64-unknown-linux-gnu")?;
    let list = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    for expected in [
        "\nhyper ",
        "\nring ",
        "\nwasmtime ",
        "Permission is hereby granted, free of charge",
        "Apache License",
    ] {
        ensure!(
            list.contains(expected),
            "{} lacks {expected:?}",
            file.display()
        );
    }
    // What only tests use, and what only builds.
    for other in ["\nrcgen ", "\nbindgen "] {
        ensure!(!list.contains(other), "{} has {other:?}", file.display());
    }
    println!("xtask: licences of dependencies: passed");
    Ok(None)
}

/// Packages of other projects in what `cargo tree` prints, one a line.
fn dependencies(tree: &str) -> Vec<Dependency> {
    let mut found: Vec<_> = tree.lines().filter_map(dependency).collect();
    found.sort();
    found.dedup();
    found
}

/// A line such as `hyper v1.12.0|MIT`; packages of this repository have the path of their folder, too.
fn dependency(line: &str) -> Option<Dependency> {
    let (package, license) = line.split_once('|')?;
    let mut words = package.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    let is_ours = words.any(|word| word.starts_with("(/"));
    (!is_ours).then(|| Dependency {
        name: name.to_owned(),
        version: version.to_owned(),
        license: license.trim_end_matches(" (*)").to_owned(),
    })
}

/// Where the sources of a package are, by what `cargo metadata` prints.
fn source_folder(metadata: &str, package: &Dependency) -> Option<PathBuf> {
    let name = format!("{}-{}", package.name, package.version);
    let manifests = metadata.split(r#""manifest_path":""#).skip(1);
    let mut folders = manifests.filter_map(|rest| Path::new(rest.split('"').next()?).parent());
    folders
        .find(|folder| folder.file_name().is_some_and(|folder| *folder == *name))
        .map(Path::to_owned)
}

/// The texts of licences in the sources of a package.
fn license_texts(folder: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().to_lowercase();
        if BEGINNINGS.iter().any(|start| name.starts_with(start)) && path.is_file() {
            let text = fs::read(&path).with_context(|| path.display().to_string())?;
            let text = String::from_utf8_lossy(&text).replace('\r', "");
            texts.push(text.trim_end().to_owned());
        }
    }
    texts.sort();
    Ok(texts)
}

fn list(
    package: &str,
    dependencies: &[Dependency],
    texts: &BTreeMap<String, Vec<&Dependency>>,
) -> String {
    let rule = "-".repeat(78);
    let mut list = format!(
        "{package} is built of these packages, each with its licence. The texts of the licences follow.\n\n"
    );
    for Dependency {
        name,
        version,
        license,
    } in dependencies
    {
        list.push_str(&format!("{name} {version}: {license}\n"));
    }
    for (text, of) in texts {
        let names: Vec<_> = of.iter().map(|package| package.name.as_str()).collect();
        list.push_str(&format!("\n{rule}\nOf {}:\n\n{text}\n", names.join(", ")));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hyper() -> Dependency {
        Dependency {
            name: "hyper".to_owned(),
            version: "1.12.0".to_owned(),
            license: "MIT".to_owned(),
        }
    }

    #[test]
    fn packages_of_other_projects_are_listed_once() {
        let tree = "wasmtime-unitd v0.1.0 (/src/crates/wasmtime-unitd)|Apache-2.0\n\
                    hyper v1.12.0|MIT\nhyper v1.12.0|MIT (*)\n";
        assert_eq!(dependencies(tree), [hyper()]);
    }

    #[test]
    fn sources_are_found_by_name_and_version() {
        let metadata = r#"[{"manifest_path":"/r/hyper-rustls-0.27.10/Cargo.toml"},
            {"manifest_path":"/r/hyper-1.12.0/Cargo.toml"}]"#;
        let folder = source_folder(metadata, &hyper());
        assert_eq!(folder, Some("/r/hyper-1.12.0".into()));
        assert_eq!(source_folder("[]", &hyper()), None);
    }

    #[test]
    fn the_list_has_each_text_once_with_all_packages_under_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("LICENSE-MIT"), "Permission\r\n").unwrap();
        fs::write(folder.path().join("lib.rs"), "code").unwrap();
        let texts = license_texts(folder.path()).unwrap();
        assert_eq!(texts, ["Permission"]);
        let other = Dependency {
            name: "h2".to_owned(),
            ..hyper()
        };
        let hyper = hyper();
        let texts = BTreeMap::from([(texts[0].clone(), vec![&other, &hyper])]);
        let list = list("daemon", std::slice::from_ref(&hyper), &texts);
        assert!(list.contains("\nhyper 1.12.0: MIT\n"), "{list}");
        assert!(list.ends_with("\nOf h2, hyper:\n\nPermission\n"), "{list}");
    }
}
