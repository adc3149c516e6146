//! Edits by path. Each returns a new tree and leaves the old one unchanged.

use thiserror::Error;

use crate::json::{MAX_DEPTH, MAX_ELEMENTS};
use crate::value::index;
use crate::{Object, Path, Value};

/// Puts `value` at `path` (the control API's PUT), and replaces the value there. A missing member of an object is
/// added at the end, and so is the element after an array's last. At the root, the whole tree is replaced.
///
/// # Errors
///
/// [`EditError::NotFound`] if the parent is missing, is neither object nor array, or is an array that ends before
/// the index; or the limit of [`parse`] that the new tree would exceed.
///
/// [`parse`]: crate::parse()
pub fn put(root: &Value, path: &Path, value: Value) -> Result<Value, EditError> {
    let Some((last, parents)) = path.segments().split_last() else {
        return Ok(value);
    };
    let mut tree = root.clone();
    match descend(&mut tree, parents)? {
        Value::Object(object) => {
            object.set(last, value);
            if object.len() > MAX_ELEMENTS {
                return Err(EditError::TooLarge);
            }
        }
        Value::Array(elements) => {
            let at = index(last).ok_or(EditError::NotFound)?;
            if at == elements.len() {
                push(elements, value)?;
            } else {
                *elements.get_mut(at).ok_or(EditError::NotFound)? = value;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(EditError::NotFound);
        }
    }
    bounded(tree)
}

/// Appends `value` to the array at `path` (the control API's POST).
///
/// # Errors
///
/// [`EditError::NotAllowed`] at the root and at a value that is not an array, [`EditError::NotFound`] at a missing
/// one; or the limit of [`parse`] that the new tree would exceed.
///
/// [`parse`]: crate::parse()
pub fn append(root: &Value, path: &Path, value: Value) -> Result<Value, EditError> {
    if path.is_root() {
        return Err(EditError::NotAllowed);
    }
    let mut tree = root.clone();
    match descend(&mut tree, path.segments())? {
        Value::Array(elements) => push(elements, value)?,
        _ => return Err(EditError::NotAllowed),
    }
    bounded(tree)
}

/// Removes the value at `path` (the control API's DELETE). At the root, an empty object remains.
///
/// # Errors
///
/// [`EditError::NotFound`] if there is no value.
pub fn delete(root: &Value, path: &Path) -> Result<Value, EditError> {
    let Some((last, parents)) = path.segments().split_last() else {
        return Ok(Object::default().into());
    };
    let mut tree = root.clone();
    match descend(&mut tree, parents)? {
        Value::Object(object) => {
            object.remove(last).ok_or(EditError::NotFound)?;
        }
        Value::Array(elements) => {
            let at = index(last)
                .filter(|&at| at < elements.len())
                .ok_or(EditError::NotFound)?;
            elements.remove(at);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(EditError::NotFound);
        }
    }
    Ok(tree)
}

/// Why an edit is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// There is no value at the path, or none can be put there.
    #[error("the value does not exist")]
    NotFound,
    /// The value at the path is of the wrong kind for the method.
    #[error("the method is not allowed for this value")]
    NotAllowed,
    /// Arrays and objects would be nested deeper than [`MAX_DEPTH`] levels.
    #[error("the configuration would be nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// An array or object would have more than [`MAX_ELEMENTS`] elements.
    #[error("an array or object would have more than {MAX_ELEMENTS} elements")]
    TooLarge,
}

fn descend<'a>(root: &'a mut Value, segments: &[String]) -> Result<&'a mut Value, EditError> {
    segments
        .iter()
        .try_fold(root, |value, segment| match value {
            Value::Object(object) => object.get_mut(segment),
            Value::Array(elements) => elements.get_mut(index(segment)?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
        .ok_or(EditError::NotFound)
}

fn push(elements: &mut Vec<Value>, value: Value) -> Result<(), EditError> {
    if elements.len() >= MAX_ELEMENTS {
        return Err(EditError::TooLarge);
    }
    elements.push(value);
    Ok(())
}

/// Checks the limits of the parser: an edited tree is persisted as text, and many edits together could exceed them.
fn bounded(tree: Value) -> Result<Value, EditError> {
    if tree.depth() > MAX_DEPTH {
        Err(EditError::TooDeep)
    } else {
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{parse, print};

    const TREE: &[u8] = br#"{"l":{"a":{"p":1},"b":{}},"r":[10,20,30]}"#;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn with(edit: impl FnOnce(&Value) -> Result<Value, EditError>) -> Result<String, EditError> {
        let tree = parse(TREE).unwrap();
        let result = edit(&tree).map(|value| print(&value));
        assert_eq!(print(&tree).as_bytes(), TREE, "the old tree changed");
        result
    }

    fn put_at(at: &str) -> Result<String, EditError> {
        with(|tree| put(tree, &path(at), Value::Null))
    }

    #[test]
    fn put_replaces_in_place_and_adds_at_the_end() {
        assert_eq!(
            put_at("/l/a/p").unwrap(),
            r#"{"l":{"a":{"p":null},"b":{}},"r":[10,20,30]}"#
        );
        assert_eq!(
            put_at("/l/c").unwrap(),
            r#"{"l":{"a":{"p":1},"b":{},"c":null},"r":[10,20,30]}"#
        );
        assert_eq!(
            put_at("/r/1").unwrap(),
            r#"{"l":{"a":{"p":1},"b":{}},"r":[10,null,30]}"#
        );
        assert_eq!(put_at("/").unwrap(), "null");
    }

    #[test]
    fn put_one_past_the_end_appends_and_further_is_not_found() {
        assert_eq!(
            put_at("/r/3").unwrap(),
            r#"{"l":{"a":{"p":1},"b":{}},"r":[10,20,30,null]}"#
        );
        assert_eq!(put_at("/r/4"), Err(EditError::NotFound));
        assert_eq!(put_at("/r/x"), Err(EditError::NotFound));
    }

    #[test]
    fn put_makes_no_missing_parents_and_nothing_below_a_scalar() {
        assert_eq!(put_at("/x/y"), Err(EditError::NotFound));
        assert_eq!(put_at("/l/a/p/q"), Err(EditError::NotFound));
    }

    #[test]
    fn append_takes_arrays_only() {
        let append_at = |at: &str| with(|tree| append(tree, &path(at), Value::Null));
        assert_eq!(
            append_at("/r").unwrap(),
            r#"{"l":{"a":{"p":1},"b":{}},"r":[10,20,30,null]}"#
        );
        assert_eq!(append_at("/l"), Err(EditError::NotAllowed));
        assert_eq!(append_at("/"), Err(EditError::NotAllowed));
        assert_eq!(append_at("/x"), Err(EditError::NotFound));
    }

    #[test]
    fn delete_closes_the_gap_and_empties_the_root() {
        let delete_at = |at: &str| with(|tree| delete(tree, &path(at)));
        assert_eq!(
            delete_at("/l/a").unwrap(),
            r#"{"l":{"b":{}},"r":[10,20,30]}"#
        );
        assert_eq!(
            delete_at("/r/0").unwrap(),
            r#"{"l":{"a":{"p":1},"b":{}},"r":[20,30]}"#
        );
        assert_eq!(delete_at("/").unwrap(), "{}");
        assert_eq!(delete_at("/r/3"), Err(EditError::NotFound));
        assert_eq!(delete_at("/l/a/p/q"), Err(EditError::NotFound));
    }

    #[test]
    fn edits_cannot_nest_deeper_than_the_parser_reads() {
        let deep = parse(&[vec![b'['; MAX_DEPTH], vec![b']'; MAX_DEPTH]].concat()).unwrap();
        assert_eq!(
            append(&deep, &path("/0"), deep.clone()),
            Err(EditError::TooDeep)
        );
    }

    #[test]
    fn edits_cannot_outgrow_what_the_parser_reads() {
        let full = Value::Array(vec![Value::Null; MAX_ELEMENTS]);
        let root: Value = [("r", full)].into_iter().collect();
        assert_eq!(
            append(&root, &path("/r"), Value::Null),
            Err(EditError::TooLarge)
        );
    }
}
