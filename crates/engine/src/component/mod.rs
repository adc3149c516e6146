//! Components: loaded from files or from compiled images, and linked. What an application does with one is not
//! known here.

pub(crate) mod error;
pub(crate) mod source;
pub(crate) mod stacks;

use std::path::Path;

use crate::Engine;
use crate::component::error::{LoadError, LoadReason};
use crate::component::source::Source;
use crate::engine::pool;
use crate::sandbox::flavor::Flavor;
use crate::sandbox::world::{World, WorldError};

/// Bytes of a page of linear memory, in which Wasmtime reports what a component requires.
const PAGE: u64 = 1 << 16;

/// A component, compiled and linked: the work that is done once for all requests.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct Component {
    pub(crate) world: World,
    /// Bytes of its largest memory at the start.
    initial_memory: u64,
    /// For how many instances of usual size one of its instances counts.
    slots: u64,
}

impl Component {
    /// Reads, compiles and links the component in the file `path`.
    ///
    /// Compiling takes from milliseconds to many seconds of all cores: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is not a component, imports something that WASI 0.2 and 0.3 and
    /// `wasi:http` do not provide, or exports neither `wasi:http/incoming-handler@0.2` nor
    /// `wasi:http/handler@0.3`. Each message starts with the path.
    pub fn load(engine: &Engine, path: &Path) -> Result<Self, LoadError> {
        Self::compile(engine, &Source::read(path)?)
    }

    /// Compiles and links a component that has been read: the second half of [`load`](Self::load).
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load), except those of reading.
    pub fn compile(engine: &Engine, source: &Source) -> Result<Self, LoadError> {
        let made = first_fitting(engine, |flavor| {
            let component =
                wasmtime::component::Component::from_binary(&flavor.wasmtime, source.bytes())
                    .map_err(LoadReason::Invalid)?;
            Self::link(flavor, &component, Some(source))
        });
        made.map_err(|reason| reason.of(source.path()))
    }

    /// Checks that an instance can start within `memory` bytes ([`Limits::memory`](crate::Limits::memory)).
    /// `path` is for the message.
    ///
    /// # Errors
    ///
    /// When it cannot, so that no request could be served.
    pub fn fits(&self, path: &Path, memory: u64) -> Result<(), LoadError> {
        if self.initial_memory <= memory {
            return Ok(());
        }
        let reason = LoadReason::Memory {
            needed: self.initial_memory,
            limit: memory,
        };
        Err(reason.of(path))
    }

    /// The machine code, to be loaded by [`from_image`](Self::from_image) in an engine with the same
    /// [`Options`](crate::Options), in another process or at another time.
    ///
    /// # Errors
    ///
    /// When Wasmtime cannot serialize it. `path` is for the message.
    pub fn image(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        let component = self.world.component();
        component
            .serialize()
            .map_err(|error| LoadReason::Invalid(error).of(path))
    }

    /// Makes a component of an [`image`](Self::image). `path` is for messages.
    ///
    /// `source` is what the image was made of. It is needed to determine how many stacks an instance may need;
    /// without it, an instance counts as one of a single component. That is safe in an engine with a
    /// [sole application](crate::Options::sole_application), which can take stacks from no other.
    ///
    /// `load` makes Wasmtime's component of the image, for the Wasmtime engine that it is given. It is called a
    /// second time, with another engine, where the image does not fit the first. An image is machine code: the
    /// caller has to make sure that its origin can be trusted.
    ///
    /// # Errors
    ///
    /// Those of the function `load`, and those of [`Component::load`] that concern linking.
    pub fn from_image(
        engine: &Engine,
        path: &Path,
        source: Option<&Source>,
        load: impl Fn(&wasmtime::Engine) -> wasmtime::Result<wasmtime::component::Component>,
    ) -> Result<Self, LoadError> {
        let made = first_fitting(engine, |flavor| {
            let component = load(&flavor.wasmtime).map_err(LoadReason::Invalid)?;
            Self::link(flavor, &component, source)
        });
        made.map_err(|reason| reason.of(path))
    }

    /// For how many instances of usual size one instance counts: one of many small modules takes more of the pool's
    /// tables and memories, one of several components more of its stacks.
    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }

    /// Whether an instance can serve several requests at the same time.
    pub(crate) fn is_concurrent(&self) -> bool {
        self.world.is_concurrent()
    }

    fn link(
        flavor: &Flavor,
        component: &wasmtime::component::Component,
        source: Option<&Source>,
    ) -> Result<Self, LoadReason> {
        let required = component.resources_required();
        let slots = required.as_ref().map_or(1, |it| {
            let tables = it.num_tables.div_ceil(pool::TABLES_PER_COMPONENT);
            let memories = it.num_memories.div_ceil(pool::MEMORIES_PER_COMPONENT);
            tables.max(memories).max(1)
        });
        let slots = slots.max(stack_slots(flavor, source)?);
        let pages = required.and_then(|it| it.max_initial_memory_size);
        Ok(Self {
            slots: slots.into(),
            world: World::of(flavor, component)?,
            initial_memory: pages.unwrap_or(0).saturating_mul(PAGE),
        })
    }
}

/// For how many instances of usual size one instance counts by the stacks that it may need. Without concurrent
/// tasks it needs one.
fn stack_slots(flavor: &Flavor, source: Option<&Source>) -> Result<u32, LoadReason> {
    let Some(source) = source.filter(|_| flavor.wasmtime.get_concurrency_support()) else {
        return Ok(1);
    };
    let needed = stacks::needed(source.bytes())?;
    match u32::try_from(needed) {
        Ok(needed) if needed <= pool::MOST_STACKS => {
            Ok(needed.div_ceil(pool::STACKS_PER_COMPONENT))
        }
        _ => Err(LoadReason::ManyStacks(needed)),
    }
}

/// Tries the flavor without concurrent tasks, then the one with them. A component that needs them mostly fails
/// in the first before it is compiled, at the first of their types; only some are compiled twice.
fn first_fitting<T>(
    engine: &Engine,
    make: impl Fn(&Flavor) -> Result<T, LoadReason>,
) -> Result<T, LoadReason> {
    let [sequential, concurrent] = engine.flavors();
    match make(sequential) {
        Err(
            LoadReason::Invalid(_) | LoadReason::World(WorldError::Link { wants_03: true, .. }),
        ) => make(concurrent),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_of_several_components_counts_for_the_stacks_that_it_may_need() {
        let options = crate::Options {
            instances: 1,
            ..crate::Options::default()
        };
        let engine = Engine::new(&options).unwrap();
        let [sequential, concurrent] = engine.flavors();
        let slots = |flavor, callees: usize| {
            let callee = r#"
                (component $callee
                    (core module $m (func (export "f")))
                    (core instance $i (instantiate $m))
                    (func (export "f") (canon lift (core func $i "f")))
                )"#;
            let instances = "(instance (instantiate $callee))".repeat(callees);
            let text = format!("(component {callee} {instances})");
            let source = Source::from_bytes("a.wasm", wat::parse_str(text).unwrap()).unwrap();
            stack_slots(flavor, Some(&source)).map_err(|reason| reason.to_string())
        };
        assert_eq!(slots(concurrent, 1), Ok(1));
        assert_eq!(slots(concurrent, 2), Ok(2));
        assert_eq!(slots(concurrent, 63), Ok(32));
        let refused = slots(concurrent, 64).unwrap_err();
        assert!(refused.starts_with("may need 65 stacks"), "{refused}");
        // All of these calls are on one stack.
        assert_eq!(slots(sequential, 250), Ok(1));
    }
}
