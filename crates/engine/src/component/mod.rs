pub(crate) mod stacks;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use wasmtime::component::types::ComponentItem;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::component::stacks::StacksError;
use crate::sandbox::guest::Guest;
use crate::{Engine, engine};

/// The largest component file that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;

/// Bytes of a page of memory, in which Wasmtime counts what a component requires.
const PAGE: u64 = 1 << 16;

/// A component, compiled and linked: all the work that requests share.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct Component {
    pub(crate) world: World,
    /// Bytes of its largest memory before anything is asked of it.
    initial_memory: u64,
    /// For how many instances of the usual size one of it counts.
    slots: u64,
}

/// The world that a component's exports tell. The one place to add the next.
#[derive(Clone)]
pub(crate) enum World {
    /// `wasi:http/proxy` of WASI 0.2, any point release.
    Proxy02(ProxyPre<Guest>),
    /// `wasi:http/service` of WASI 0.3.
    Service03(ServicePre<Guest>),
}

impl Component {
    /// Reads, compiles and links the component in the file `path`.
    ///
    /// Takes from milliseconds to many seconds of all cores: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is no component, imports what WASI 0.2 and 0.3 and
    /// `wasi:http` do not provide, or exports neither `wasi:http/incoming-handler@0.2` nor
    /// `wasi:http/handler@0.3`. Each message starts with the path.
    pub fn load(engine: &Engine, path: &Path) -> Result<Self, LoadError> {
        Self::compile(engine, &Source::read(path)?)
    }

    /// Compiles and links a component that has been read; [`load`](Self::load) says the rest.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load), but for those of reading.
    pub fn compile(engine: &Engine, source: &Source) -> Result<Self, LoadError> {
        let made = each(engine, |kind| {
            let component =
                wasmtime::component::Component::from_binary(&kind.wasmtime, &source.bytes)
                    .map_err(Reason::Invalid)?;
            Self::link(kind, &component, Some(source))
        });
        made.map_err(|reason| reason.of(&source.path))
    }

    /// Whether an instance that may have `memory` bytes ([`Limits::memory`](crate::Limits::memory))
    /// has what it needs from the start. `path` is for the message.
    ///
    /// # Errors
    ///
    /// When it has not: no request could be served.
    pub fn fits(&self, path: &Path, memory: u64) -> Result<(), LoadError> {
        if self.initial_memory <= memory {
            return Ok(());
        }
        let reason = Reason::Memory {
            needed: self.initial_memory,
            limit: memory,
        };
        Err(reason.of(path))
    }

    /// The machine code, to be given back by [`from_image`](Self::from_image) to an engine of the
    /// same [`Options`](crate::Options), in another process or at another time.
    ///
    /// # Errors
    ///
    /// When Wasmtime cannot write it. `path` is for the message.
    pub fn image(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        let component = match &self.world {
            World::Proxy02(pre) => pre.instance_pre().component(),
            World::Service03(pre) => pre.instance_pre().component(),
        };
        component
            .serialize()
            .map_err(|error| Reason::Invalid(error).of(path))
    }

    /// Makes a component of an [`image`](Self::image). `path` is for messages.
    ///
    /// `source` is what the image was made of, which alone tells how many stacks an instance may need.
    /// Without it, each is taken for one of a single component: for an engine with a
    /// [sole application](crate::Options::sole_application), which can take stacks from no other.
    ///
    /// `load` is to make Wasmtime's own component for an engine of Wasmtime's. It is called again for
    /// another engine where the first does not take the image. Making a component of an image takes
    /// trust in its origin, which is the caller's to argue for.
    ///
    /// # Errors
    ///
    /// Those of `load`, and those of [`load`](Self::load) that a compiled component can still have.
    pub fn from_image(
        engine: &Engine,
        path: &Path,
        source: Option<&Source>,
        load: impl Fn(&wasmtime::Engine) -> wasmtime::Result<wasmtime::component::Component>,
    ) -> Result<Self, LoadError> {
        let made = each(engine, |kind| {
            let component = load(&kind.wasmtime).map_err(Reason::Invalid)?;
            Self::link(kind, &component, source)
        });
        made.map_err(|reason| reason.of(path))
    }

    /// For how many instances of the usual size one of it counts: those of many small modules take more of
    /// the pool's tables and memories, and those of several components more of its stacks.
    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }

    /// Whether an instance can serve several requests at the same time.
    pub(crate) fn is_concurrent(&self) -> bool {
        match self.world {
            World::Proxy02(_) => false,
            World::Service03(_) => true,
        }
    }

    /// Wasmtime's own engine, which the component's stores belong to.
    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        match &self.world {
            World::Proxy02(pre) => pre.engine(),
            World::Service03(pre) => pre.engine(),
        }
    }

    fn link(
        kind: &engine::Kind,
        component: &wasmtime::component::Component,
        source: Option<&Source>,
    ) -> Result<Self, Reason> {
        let required = component.resources_required();
        let slots = required.as_ref().map_or(1, |it| {
            let tables = it.num_tables.div_ceil(engine::TABLES_PER_COMPONENT);
            let memories = it.num_memories.div_ceil(engine::MEMORIES_PER_COMPONENT);
            tables.max(memories).max(1)
        });
        let slots = slots.max(stack_slots(kind, source)?);
        let pages = required.and_then(|it| it.max_initial_memory_size);
        Ok(Self {
            slots: slots.into(),
            world: World::of(kind, component)?,
            initial_memory: pages.unwrap_or(0).saturating_mul(PAGE),
        })
    }
}

/// For how many instances of the usual size one counts by the stacks that it may need. Without concurrent
/// tasks that is one stack.
fn stack_slots(kind: &engine::Kind, source: Option<&Source>) -> Result<u32, Reason> {
    let Some(source) = source.filter(|_| kind.wasmtime.get_concurrency_support()) else {
        return Ok(1);
    };
    let needed = stacks::needed(&source.bytes)?;
    match u32::try_from(needed) {
        Ok(needed) if needed <= engine::MOST_STACKS => {
            Ok(needed.div_ceil(engine::STACKS_PER_COMPONENT))
        }
        _ => Err(Reason::ManyStacks(needed)),
    }
}

/// What is in a component's file.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Source {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, has more than 256 MiB, or is something else than a component at first
    /// sight. Each message starts with the path.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let bytes = read(path).and_then(|bytes| {
            classify(&bytes, path)?;
            Ok(bytes)
        });
        Ok(Self {
            bytes: bytes.map_err(|reason| reason.of(path))?,
            path: path.to_owned(),
        })
    }

    /// Where it was read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The component as it came.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Tries the engine without concurrent tasks, then the one that has them. A component that needs them
/// fails in the first before it is compiled, at the first type of theirs. If not, it is compiled twice,
/// which none is in vain.
fn each<T>(
    engine: &Engine,
    make: impl Fn(&engine::Kind) -> Result<T, Reason>,
) -> Result<T, Reason> {
    let [sequential, concurrent] = engine.kinds();
    match make(sequential) {
        Err(Reason::Invalid(_) | Reason::Link { wants_03: true, .. }) => make(concurrent),
        made => made,
    }
}

impl World {
    fn of(kind: &engine::Kind, component: &wasmtime::component::Component) -> Result<Self, Reason> {
        let types = component.component_type();
        let exports: Vec<String> = types
            .exports(&kind.wasmtime)
            .filter(|(_, export)| matches!(export.ty, ComponentItem::ComponentInstance(_)))
            .map(|(name, _)| name.to_owned())
            .collect();
        let has = |interface: &str| exports.iter().any(|name| name.starts_with(interface));
        let unlinked = |error| Reason::Link {
            error,
            wants_03: types
                .imports(&kind.wasmtime)
                .any(|(name, _)| name.contains("@0.3.")),
        };
        let link = || kind.linker.instantiate_pre(component);
        // A component with both is asked in the newer way.
        if has("wasi:http/handler@0.3.") {
            let service = link().and_then(ServicePre::new).map_err(unlinked)?;
            return Ok(Self::Service03(service));
        }
        if has("wasi:http/incoming-handler@0.2.") {
            let proxy = link().and_then(ProxyPre::new).map_err(unlinked)?;
            return Ok(Self::Proxy02(proxy));
        }
        Err(Reason::NoHandler(exports))
    }
}

/// Why a component does not load. The message names the file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct LoadError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("is not a regular file")]
    NotAFile,
    #[error("is empty")]
    Empty,
    #[error("has {0} bytes; at most {MAX_FILE} are read")]
    TooLarge(u64),
    #[error(
        "is a core module where a component is expected; build it for the target wasm32-wasip2, \
         or turn it into a component with: wasm-tools component new {} \
         --adapt wasi_snapshot_preview1.reactor.wasm -o COMPONENT.wasm", .0.display()
    )]
    CoreModule(PathBuf),
    #[error(
        "is WebAssembly text where a binary component is expected; convert it with: wasm-tools parse"
    )]
    Text,
    #[error(
        "is an ELF file, precompiled by Wasmtime perhaps; only a binary component is loaded, \
         since machine code from outside cannot be checked"
    )]
    Precompiled,
    #[error("is not a WebAssembly component: it starts with {0}")]
    NotWasm(String),
    #[error("is not a valid component: {0:#}")]
    Invalid(wasmtime::Error),
    #[error("needs {needed} bytes of memory from the start; an instance may have {limit}")]
    Memory { needed: u64, limit: u64 },
    #[error("cannot be told how many stacks it needs: {0}")]
    Stacks(#[from] StacksError),
    #[error(
        "may need {0} stacks at a time, one for each of its components; an instance may have {most}",
        most = engine::MOST_STACKS
    )]
    ManyStacks(u64),
    #[error("cannot be linked: {error:#}")]
    Link {
        error: wasmtime::Error,
        /// It imports something of WASI 0.3.
        wants_03: bool,
    },
    #[error(
        "exports neither wasi:http/incoming-handler@0.2, as a component of the wasi:http/proxy \
         world does, nor wasi:http/handler@0.3, as one of wasi:http/service does; its exported \
         interfaces: {}", list(.0)
    )]
    NoHandler(Vec<String>),
}

impl Reason {
    fn of(self, path: &Path) -> LoadError {
        LoadError {
            path: path.to_owned(),
            reason: self,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Reason> {
    // Asked before opening, since a device may do something then, and again behind it: a named pipe
    // may have taken the file's place, which would be waited for without `NONBLOCK`.
    if !fs::metadata(path)?.is_file() {
        return Err(Reason::NotAFile);
    }
    let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Reason::NotAFile);
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(MAX_FILE) as usize);
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Reason::TooLarge(metadata.len()));
    }
    Ok(bytes)
}

/// Tells a component from all that people give in its place.
fn classify(bytes: &[u8], path: &Path) -> Result<(), Reason> {
    // The fields behind the magic number: a version, then the layer (0: module, 1: component).
    match bytes {
        [] => Err(Reason::Empty),
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', _, _, 0, 0, ..] => Err(Reason::CoreModule(path.to_owned())),
        [0x7f, b'E', b'L', b'F', ..] => Err(Reason::Precompiled),
        _ if bytes.trim_ascii_start().starts_with(b"(") => Err(Reason::Text),
        _ => Err(Reason::NotWasm(
            bytes[..bytes.len().min(8)].escape_ascii().to_string(),
        )),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        classify(bytes, Path::new("a.wasm"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_no_component_is_called_what_it_is() {
        assert!(refused(b"").contains("is empty"));
        assert!(refused(b"\0asm\x01\0\0\0").contains("is a core module"));
        assert!(refused(b"\0asm\x01\0\0\0").contains("wasm-tools component new a.wasm"));
        assert!(refused(b"\x7fELF\x02").contains("is an ELF file"));
        assert!(refused(b"\n (component)").contains("is WebAssembly text"));
        assert!(refused(b"#!/bin/sh\n\xff").contains("starts with #!/bin/s"));
        assert!(refused(b"\0asm").contains("is not a WebAssembly component"));
        assert!(classify(b"\0asm\x0d\0\x01\0", Path::new("a.wasm")).is_ok());
    }

    #[test]
    fn an_instance_of_several_components_counts_for_the_stacks_that_it_may_need() {
        let options = crate::Options {
            instances: 1,
            ..crate::Options::default()
        };
        let engine = Engine::new(&options).unwrap();
        let [sequential, concurrent] = engine.kinds();
        let slots = |kind, callees: usize| {
            let callee = r#"
                (component $callee
                    (core module $m (func (export "f")))
                    (core instance $i (instantiate $m))
                    (func (export "f") (canon lift (core func $i "f")))
                )"#;
            let instances = "(instance (instantiate $callee))".repeat(callees);
            let text = format!("(component {callee} {instances})");
            let source = Source {
                path: "a.wasm".into(),
                bytes: wat::parse_str(text).unwrap(),
            };
            stack_slots(kind, Some(&source)).map_err(|reason| reason.to_string())
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
