//! How many stacks an instance of a component may need at the same time. Wasmtime reports how many tables and
//! memories it needs, but not this.

use wasmparser::{
    BinaryReaderError, CanonicalFunction, Chunk, ComponentAlias, ComponentExternalKind,
    ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Encoding, Parser, Payload,
};

/// Stacks beyond one for each component instance that may block: that of the guest task that runs meanwhile.
const RUNNING: u64 = 1;

/// Why the number of stacks cannot be determined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StacksError {
    #[error("{0}")]
    Malformed(#[from] BinaryReaderError),
    #[error("the component is truncated")]
    Short,
    #[error("it instantiates a component that it gets as an argument")]
    Passed,
}

/// The most stacks that an instance of this component needs at a time, where it has concurrent tasks.
///
/// A call that blocks keeps its stack, and a component instance that has such a call in it takes no other
/// until that is over: each of those that can be called at all may keep one.
pub(crate) fn needed(component: &[u8]) -> Result<u64, StacksError> {
    Ok(callees(component)?.saturating_add(RUNNING))
}

/// A component that is being read.
#[derive(Default)]
struct Definition {
    /// Its index space of components: how many callees an instance of each has; `None` where that is unknown.
    components: Vec<Option<u64>>,
    /// The callees of its instances that have been read so far.
    instances: u64,
    lifts: bool,
}

impl Definition {
    fn callees(&self) -> u64 {
        self.instances.saturating_add(u64::from(self.lifts))
    }
}

/// How many component instances with functions that can be called there are in an instance of this one.
fn callees(component: &[u8]) -> Result<u64, StacksError> {
    let mut parser = Parser::new(0);
    let mut outer: Vec<(Parser, Definition)> = Vec::new();
    let mut current = Definition::default();
    let mut rest = component;
    loop {
        let (consumed, payload) = match parser.parse(rest, true)? {
            Chunk::Parsed { consumed, payload } => (consumed, payload),
            Chunk::NeedMoreData(_) => return Err(StacksError::Short),
        };
        rest = rest.get(consumed..).ok_or(StacksError::Short)?;
        match payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } => return Err(StacksError::Short),
            Payload::ModuleSection {
                unchecked_range, ..
            } => {
                rest = rest
                    .get(unchecked_range.len()..)
                    .ok_or(StacksError::Short)?;
            }
            Payload::ComponentSection { parser: inner, .. } => {
                let around = std::mem::take(&mut current);
                outer.push((std::mem::replace(&mut parser, inner), around));
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    if let ComponentTypeRef::Component(_) = import?.ty {
                        current.components.push(None);
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                // An export defines a new index.
                for export in exports {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Component {
                        let exported = find(&current, export.index);
                        current.components.push(exported);
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases {
                    match alias? {
                        ComponentAlias::InstanceExport {
                            kind: ComponentExternalKind::Component,
                            ..
                        } => current.components.push(None),
                        ComponentAlias::Outer {
                            kind: ComponentOuterAliasKind::Component,
                            count,
                            index,
                        } => {
                            // 0 is the component itself, and 1 is the one around it.
                            let aliased = match count.checked_sub(1) {
                                None => find(&current, index),
                                Some(outward) => {
                                    let around = outer.iter().nth_back(outward as usize);
                                    around.and_then(|(_, around)| find(around, index))
                                }
                            };
                            current.components.push(aliased);
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances {
                    if let ComponentInstance::Instantiate {
                        component_index, ..
                    } = instance?
                    {
                        let of = find(&current, component_index).ok_or(StacksError::Passed)?;
                        current.instances = current.instances.saturating_add(of);
                    }
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions {
                    current.lifts |= matches!(function?, CanonicalFunction::Lift { .. });
                }
            }
            Payload::End(_) => {
                let callees = current.callees();
                let Some((around, definition)) = outer.pop() else {
                    return Ok(callees);
                };
                (parser, current) = (around, definition);
                current.components.push(Some(callees));
            }
            _ => {}
        }
    }
}

fn find(definition: &Definition, index: u32) -> Option<u64> {
    definition.components.get(index as usize).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component that can be called, and one that holds two of it.
    const NESTED: &str = r#"
        (component $callee
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func (export "f") (canon lift (core func $i "f")))
        )
        (component $two
            (alias outer $root $callee (component $c))
            (instance (instantiate $c))
            (instance (instantiate $c))
        )
    "#;

    fn of(text: &str) -> Result<u64, StacksError> {
        callees(&wat::parse_str(format!("(component $root {text})")).unwrap())
    }

    #[test]
    fn each_component_instance_that_can_be_called_counts_as_often_as_it_is_there() {
        assert_eq!(of("").unwrap(), 0);
        assert_eq!(of(NESTED).unwrap(), 0);
        let one = format!("{NESTED} (instance (instantiate $callee))");
        assert_eq!(of(&one).unwrap(), 1);
        let more = format!("{one} (instance (instantiate $two)) (instance (instantiate $two))");
        assert_eq!(of(&more).unwrap(), 5);
        let lifts = r#"
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func (export "f") (canon lift (core func $i "f")))
        "#;
        assert_eq!(of(&format!("{more} {lifts}")).unwrap(), 6);
        let exported = r#"(export $e "c" (component $two)) (instance (instantiate $e))"#;
        assert_eq!(of(&format!("{NESTED} {exported}")).unwrap(), 2);
    }

    #[test]
    fn stacks_of_a_component_passed_as_an_argument_cannot_be_counted() {
        let text = r#"(import "c" (component $c)) (instance (instantiate $c))"#;
        assert!(matches!(of(text), Err(StacksError::Passed)));
        assert!(of(r#"(import "c" (component $c))"#).is_ok());
    }

    #[test]
    fn stacks_of_something_else_than_a_component_are_an_error() {
        let whole = wat::parse_str(format!("(component $root {NESTED})")).unwrap();
        assert!(callees(&whole).is_ok());
        // Within its last section.
        assert!(callees(&whole[..whole.len() - 1]).is_err());
        assert!(callees(b"").is_err());
        assert!(callees(b"\0asm\x01\0\0\0").is_err());
    }
}
