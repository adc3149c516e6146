//! The rule that imports go one way: no circle between the files of a crate, nor between its folders.
//!
//! Of each module, the check looks at its own file and at each child with all that is below it. What
//! one of them names of another is an arrow, and the arrows have to have a direction: so a child uses
//! nothing that its parent's file defines, if the parent uses the child. A re-export does not count as an
//! arrow: it is followed to where the item is defined.

use std::collections::{BTreeMap, HashSet};

use super::source::{Crate, ModuleId};

/// What one part of a module names of another: where, and what.
type Arrows = BTreeMap<(Part, Part), String>;

/// A module's own file, or a child with all below it.
type Part = ModuleId;

/// The circles of a crate, each with one line for each of its arrows.
pub(super) fn circles(source: &Crate) -> Vec<String> {
    let mut by_module: BTreeMap<ModuleId, Arrows> = BTreeMap::new();
    for (from, to, text) in uses(source) {
        let (module, parts) = common(source, from, to);
        by_module
            .entry(module)
            .or_default()
            .entry(parts)
            .or_insert(text);
    }
    let mut circles = Vec::new();
    for arrows in by_module.values_mut() {
        while let Some(circle) = circle(arrows) {
            let uses = circle.iter().map(|arrow| arrows[arrow].as_str());
            circles.push(uses.collect::<Vec<_>>().join("\n    "));
            // One arrow less, so that what else is tangled is seen as well.
            for arrow in &circle {
                arrows.remove(arrow);
            }
        }
    }
    circles
}

/// All uses of one file by another, with a text that names both.
fn uses(source: &Crate) -> Vec<(ModuleId, ModuleId, String)> {
    let mut found = Vec::new();
    for (id, module) in source.modules.iter().enumerate() {
        let imports = module
            .imports
            .iter()
            .filter(|import| !import.is_reexport)
            .map(|import| (&import.path, import.line));
        let paths = module.paths.iter().map(|(path, line)| (path, *line));
        for (path, line) in imports.chain(paths) {
            let Some((owner, name)) = source.resolve(id, path) else {
                continue;
            };
            let (from, to) = (module.file_module, source.modules[owner].file_module);
            if from != to {
                let place = module.file.display();
                let definition = source.modules[owner].file.display();
                found.push((
                    from,
                    to,
                    format!("{place}:{line} uses `{name}` of {definition}"),
                ));
            }
        }
    }
    found
}

/// The innermost module that both are in, and which of its parts each is in.
fn common(source: &Crate, from: ModuleId, to: ModuleId) -> (ModuleId, (Part, Part)) {
    let (up, down) = (ancestors(source, from), ancestors(source, to));
    let shared = up.iter().zip(&down).take_while(|(a, b)| a == b).count();
    let module = up[shared - 1];
    let part = |path: &[ModuleId]| path.get(shared).copied().unwrap_or(module);
    (module, (part(&up), part(&down)))
}

/// The modules from the root down to this one.
fn ancestors(source: &Crate, module: ModuleId) -> Vec<ModuleId> {
    let mut path = vec![module];
    while let Some(parent) = source.modules[path[path.len() - 1]].parent {
        path.push(parent);
    }
    path.reverse();
    path
}

/// One shortest circle, if there is any.
fn circle(arrows: &Arrows) -> Option<Vec<(Part, Part)>> {
    let starts: HashSet<Part> = arrows.keys().map(|(from, _)| *from).collect();
    let mut starts: Vec<_> = starts.into_iter().collect();
    starts.sort_unstable();
    starts
        .into_iter()
        .filter_map(|start| way_back(arrows, start))
        .min_by_key(Vec::len)
}

/// The shortest way from a part to itself.
fn way_back(arrows: &Arrows, start: Part) -> Option<Vec<(Part, Part)>> {
    let mut came_by: BTreeMap<Part, (Part, Part)> = BTreeMap::new();
    let mut next = vec![start];
    while !next.is_empty() {
        let mut after = Vec::new();
        for from in next {
            for arrow in arrows
                .range((from, 0)..=(from, Part::MAX))
                .map(|(key, _)| *key)
            {
                if came_by.contains_key(&arrow.1) {
                    continue;
                }
                came_by.insert(arrow.1, arrow);
                if arrow.1 == start {
                    let mut way = vec![arrow];
                    while way[way.len() - 1].0 != start {
                        way.push(came_by[&way[way.len() - 1].0]);
                    }
                    way.reverse();
                    return Some(way);
                }
                after.push(arrow.1);
            }
        }
        next = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let fixture = Fixture::new(files);
        let root = fixture.path("src/lib.rs");
        let source = Crate::read(&fixture.path("src"), &root).unwrap();
        circles(&source)
    }

    #[test]
    fn two_files_that_use_each_other_are_a_circle() {
        let found = circles_of(&[
            ("src/lib.rs", "mod a;\nmod b;\n"),
            ("src/a.rs", "use crate::b::B;\npub struct A(B);\n"),
            ("src/b.rs", "pub struct B;\nfn f(a: &super::a::A) {}\n"),
        ]);
        assert_eq!(
            found,
            ["a.rs:1 uses `B` of b.rs\n    b.rs:2 uses `A` of a.rs"]
        );
    }

    #[test]
    fn a_child_that_uses_its_parent_which_uses_it_is_a_circle() {
        let found = circles_of(&[
            (
                "src/lib.rs",
                "mod a;\npub struct Options;\nfn f() { a::run(); }\n",
            ),
            ("src/a.rs", "pub fn run(_: crate::Options) {}\n"),
        ]);
        assert_eq!(
            found,
            ["lib.rs:3 uses `run` of a.rs\n    a.rs:1 uses `Options` of lib.rs"]
        );
    }

    #[test]
    fn two_folders_that_use_each_other_are_a_circle() {
        let found = circles_of(&[
            ("src/lib.rs", "mod a;\nmod b;\n"),
            ("src/a/mod.rs", "mod low;\nmod high;\n"),
            ("src/a/low.rs", "pub struct Low;\n"),
            ("src/a/high.rs", "use crate::b::one::One;\n"),
            ("src/b/mod.rs", "pub mod one;\nmod two;\n"),
            ("src/b/one.rs", "pub struct One;\n"),
            ("src/b/two.rs", "use crate::a::low::Low;\n"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("a/high.rs:1 uses `One` of b/one.rs"));
    }

    #[test]
    fn a_use_in_the_arguments_of_a_macro_counts() {
        let found = circles_of(&[
            ("src/lib.rs", "mod a;\nmod b;\n"),
            (
                "src/a.rs",
                "pub const A: u8 = 1;\nfn f() { println!(\"{}\", crate::b::B); }\n",
            ),
            ("src/b.rs", "pub const B: u8 = crate::a::A;\n"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn reexports_and_tests_are_no_circle() {
        let found = circles_of(&[
            (
                "src/lib.rs",
                "mod a;\nmod b;\npub use a::A;\npub(crate) use b::B;\n",
            ),
            ("src/a.rs", "use crate::B;\npub struct A(B);\n"),
            (
                "src/b.rs",
                "pub struct B;\n#[cfg(test)]\nmod tests {\n use crate::A;\n fn f(_: A) {}\n}\n",
            ),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }
}
