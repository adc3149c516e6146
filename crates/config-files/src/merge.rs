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

/// One object with the members of all, in their order. A section (a member of the whole) may be in several files if it
/// is an object in each of them; each of its own members may be in one file only.
///
/// In less than quadratic time, since there may be thousands of applications.
pub(crate) fn merge(objects: Vec<(usize, Object)>) -> Result<Value, Duplicate> {
    let mut sections = Vec::new();
    for (name, values) in members(objects) {
        let path = Path::default().join(&name);
        let value = match one(values) {
            Ok(value) => value,
            Err(values) => members(objects_of(&path, values)?)
                .into_iter()
                .map(|(name, values)| match one(values) {
                    Ok(value) => Ok((name, value)),
                    Err(values) => Err(duplicate(path.clone().join(&name), &values, 1)),
                })
                .collect::<Result<Vec<_>, _>>()
                .map(object)?,
        };
        sections.push((name, value));
    }
    Ok(object(sections))
}

type Values = Vec<(usize, Value)>;

/// The members of all objects, each with its values, in the order in which they are first found.
fn members(objects: Vec<(usize, Object)>) -> Vec<(String, Values)> {
    let mut members: Vec<(String, Values)> = Vec::new();
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
    members
}

/// The value, if there is just one.
fn one(mut values: Values) -> Result<Value, Values> {
    match (values.pop(), values.is_empty()) {
        (Some((_, only)), true) => Ok(only),
        (last, _) => {
            values.extend(last);
            Err(values)
        }
    }
}

fn objects_of(path: &Path, values: Values) -> Result<Vec<(usize, Object)>, Duplicate> {
    let other = values
        .iter()
        .position(|(_, value)| value.as_object().is_none());
    if let Some(index) = other {
        // The one before it, or, if it is the first, the one after it.
        return Err(duplicate(path.clone(), &values, index.max(1)));
    }
    let objects = values.into_iter().filter_map(|(file, value)| match value {
        Value::Object(object) => Some((file, object)),
        _ => None,
    });
    Ok(objects.collect())
}

fn duplicate(member: Path, values: &Values, second: usize) -> Duplicate {
    Duplicate {
        member,
        first: values[second - 1].0,
        second: values[second].0,
    }
}

fn object(members: Vec<(String, Value)>) -> Value {
    let mut members = members;
    let members = members.iter_mut();
    members
        .map(|(name, value)| (name.as_str(), std::mem::replace(value, Value::Null)))
        .collect()
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
                [r#"{"a": {"b": {}}}"#, "{}", r#"{"a": {"b": {}}}"#],
                duplicate(&["a", "b"], 0, 2),
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
