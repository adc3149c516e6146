//! The rule that no two types of one crate share a name, so that a name says which.

use std::collections::BTreeMap;

use super::source::Crate;

/// The names that several types have, each as a line for people.
pub(super) fn duplicates(source: &Crate) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for module in &source.modules {
        let mut in_module: Vec<&str> = Vec::new();
        for (name, line) in &module.types {
            // The same type for another system, under `cfg`.
            if !in_module.contains(&name.as_str()) {
                in_module.push(name);
                let place = format!("{}:{line}", module.file.display());
                places.entry(name).or_default().push(place);
            }
        }
    }
    places
        .into_iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| format!("`{name}` is {} types: {}", places.len(), places.join(", ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn two_types_of_one_name_are_found() {
        let fixture = Fixture::new(&[
            (
                "src/lib.rs",
                "mod a;\nstruct State;\n#[cfg(test)]\nmod tests { struct Other; }\n",
            ),
            (
                "src/a.rs",
                "\nenum State {}\nstruct Other;\nimpl Iterator for Other { type Item = u8; }\n",
            ),
        ]);
        let root = fixture.path("src/lib.rs");
        let source = Crate::read(&fixture.path("src"), &root).unwrap();
        assert_eq!(
            duplicates(&source),
            ["`State` is 2 types: lib.rs:2, a.rs:2"]
        );
    }
}
