//! Merging the files of a folder into one tree.

use std::collections::HashMap;

use config::{Object, Path, Value};

/// A member that two files have, by their indices.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Duplicate {
    pub(crate) member: Path,
    pub(crate) first: usize,
    pub(crate) second: usize,
}

/// One object with the members of all, in their order. Where several have a member, its values have to be objects,
/// which are merged in the same way.
///
/// In less than quadratic time, since there may be thousands of applications.
pub(crate) fn merge(objects: Vec<(usize, Object)>) -> Result<Value, Duplicate> {
    merge_at(&mut Path::default(), objects)
}

fn merge_at(path: &mut Path, objects: Vec<(usize, Object)>) -> Result<Value, Duplicate> {
    let mut members: Vec<(String, Vec<(usize, Value)>)> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (file, object) in objects {
        for (name, value) in object {
            match known.get(&name) {
                Some(&at) => members[at].1.push((file, value)),
                None => {
                    known.insert(name.clone(), members.len());
                    members.push((name, vec![(file, value)]));
                }
            }
        }
    }
    drop(known);
    let mut merged = Vec::with_capacity(members.len());
    for (name, mut values) in members {
        let value = match (values.pop(), values.is_empty()) {
            (Some((_, only)), true) => only,
            (last, _) => {
                values.extend(last);
                path.push(&name);
                let value = merge_at(path, objects_of(path, values)?)?;
                path.pop();
                value
            }
        };
        merged.push((name, value));
    }
    Ok(merged
        .iter_mut()
        .map(|(name, value)| (name.as_str(), std::mem::replace(value, Value::Null)))
        .collect())
}

fn objects_of(path: &Path, values: Vec<(usize, Value)>) -> Result<Vec<(usize, Object)>, Duplicate> {
    let files: Vec<_> = values.iter().map(|(file, _)| *file).collect();
    let mut objects = Vec::with_capacity(values.len());
    for (index, (file, value)) in values.into_iter().enumerate() {
        match value {
            Value::Object(object) => objects.push((file, object)),
            _ => {
                // The one before it, or, if it is the first, the one after it.
                let second = index.max(1);
                return Err(Duplicate {
                    member: path.clone(),
                    first: files[second - 1],
                    second: files[second],
                });
            }
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(texts: &[&str]) -> Result<String, Duplicate> {
        let objects = texts.iter().enumerate().map(|(index, text)| {
            let Value::Object(object) = config::parse(text.as_bytes()).unwrap() else {
                panic!("{text} is not an object");
            };
            (index, object)
        });
        merge(objects.collect()).map(|tree| config::print(&tree))
    }

    #[test]
    fn members_of_all_files_stand_in_the_order_of_the_files() {
        let text = r#"{"a":{"x":1,"y":2,"z":[3]},"b":[1],"c":4}"#;
        let parts = [
            r#"{"a": {"x": 1}, "b": [1]}"#,
            r#"{"a": {"y": 2}}"#,
            r#"{"c": 4, "a": {"z": [3]}}"#,
        ];
        assert_eq!(merged(&parts).as_deref(), Ok(text));
        assert_eq!(merged(&["{}"]).as_deref(), Ok("{}"));
    }

    #[test]
    fn a_member_of_two_files_that_is_not_an_object_in_both_is_an_error() {
        let duplicate = |path: &[&str], first, second| Duplicate {
            member: path.iter().copied().collect(),
            first,
            second,
        };
        for (texts, expected) in [
            (
                [r#"{"a": 1}"#, "{}", r#"{"a": 1}"#],
                duplicate(&["a"], 0, 2),
            ),
            (
                [r#"{"a": {"b": {}}}"#, r#"{"a": {"b": []}}"#, "{}"],
                duplicate(&["a", "b"], 0, 1),
            ),
            (
                [r#"{"a": {}}"#, r#"{"a": {}}"#, r#"{"a": null}"#],
                duplicate(&["a"], 1, 2),
            ),
        ] {
            assert_eq!(merged(&texts), Err(expected), "{texts:?}");
        }
    }
}
