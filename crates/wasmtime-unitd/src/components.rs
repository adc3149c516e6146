//! Loads components, several at a time: from the cache, or compiled.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use code_cache::{Cache, Loaded, NotCompiled, Origin};
use config_files::Stamp;
use control::BlockingThreads;
use engine::{Component, Engine};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How often the log has the progress of a long load.
const PROGRESS: Duration = Duration::from_secs(5);

/// Components that are loaded at the same time, on a machine with at least as many cores. Compiling one uses several
/// cores anyway, and up to some hundred MiB of memory.
const AT_ONCE: usize = 4;

/// With less memory for instances for each of these, fewer are loaded at the same time: two small components at once
/// take 64 MiB.
const MEMORY_FOR_EACH: u64 = 128 << 20;

/// How many components are loaded at the same time.
fn at_once(engine: &Engine) -> usize {
    let for_memory = engine.memory_limit() / MEMORY_FOR_EACH;
    let for_memory = usize::try_from(for_memory).unwrap_or(usize::MAX);
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    cores.min(for_memory).clamp(1, AT_ONCE)
}

/// What loading a component's file came to.
pub(crate) struct LoadedComponent {
    /// The component, or why it cannot be loaded.
    pub(crate) component: Result<Component, String>,
    /// The version of the file, from before it was read.
    pub(crate) stamp: Stamp,
}

/// The components of some files.
pub(crate) type Components = HashMap<PathBuf, LoadedComponent>;

/// The version of a component that was to be loaded.
pub(crate) fn stamp_of(components: &Components, path: &Path) -> Stamp {
    let loaded = components.get(path);
    // If loading it panicked, the version now: it is not to be loaded again and again.
    loaded.map_or_else(|| Stamp::of(path), |loaded| loaded.stamp)
}

/// Whether components are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compiling {
    /// Those that are not in the cache.
    IfNeeded,
    /// `--no-compile`.
    Never,
}

/// Loads components for one engine.
pub(crate) struct Loader {
    engine: Engine,
    /// The cache's folder. `None` disables the cache.
    folder: Option<PathBuf>,
    compiling: Compiling,
    /// Opened on first use: the process has dropped root privileges by then.
    cache: OnceLock<Result<Cache, String>>,
    /// Limits how many are loaded at the same time.
    permits: Semaphore,
    threads: BlockingThreads,
}

impl Loader {
    pub(crate) fn new(
        engine: Engine,
        folder: Option<PathBuf>,
        compiling: Compiling,
        threads: BlockingThreads,
    ) -> Arc<Self> {
        let permits = Semaphore::new(at_once(&engine));
        Arc::new(Self {
            engine,
            folder,
            compiling,
            cache: OnceLock::new(),
            permits,
            threads,
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Loads the components of these files, without blocking threads that serve requests. A component that cannot be
    /// loaded has its error.
    pub(crate) async fn load(self: &Arc<Self>, paths: BTreeSet<PathBuf>) -> Components {
        let total = paths.len();
        let mut loading = JoinSet::new();
        for path in paths {
            let loader = Arc::clone(self);
            loading.spawn(async move {
                let stamp = loader.stamp(&path).await;
                let loaded = loader.load_one(&path).await;
                (path, stamp, loaded)
            });
        }
        let mut components = HashMap::with_capacity(total);
        loop {
            let next = match tokio::time::timeout(PROGRESS, loading.join_next()).await {
                Ok(Some(next)) => next,
                Ok(None) => return components,
                Err(_) => {
                    let done = components.len();
                    tracing::info!("loading components: {done} of {total} done");
                    continue;
                }
            };
            // An error would be a panic, which `load_one` has caught.
            let Ok((path, stamp, loaded)) = next else {
                continue;
            };
            let done = components.len() + 1;
            let component = loaded.map(|(loaded, took)| {
                let took = took.as_millis();
                match loaded.origin {
                    Origin::Cache => tracing::info!(
                        "component {path:?} loaded from the cache in {took} ms ({done} of {total})"
                    ),
                    Origin::Compiler => tracing::info!(
                        "component {path:?} compiled in {took} ms ({done} of {total})"
                    ),
                }
                if let Some(error) = loaded.not_kept {
                    tracing::warn!("component {path:?} not written to the cache: {error}; it will be compiled again at the next start");
                }
                loaded.component
            });
            components.insert(path, LoadedComponent { component, stamp });
        }
    }

    async fn stamp(&self, path: &Path) -> Stamp {
        let owned = path.to_owned();
        let looked = self.threads.spawn(move || Stamp::of(&owned)).await;
        looked.unwrap_or_else(|_| Stamp::of(path))
    }

    async fn load_one(self: &Arc<Self>, path: &Path) -> Result<(Loaded, Duration), String> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let loader = Arc::clone(self);
        let path = path.to_owned();
        let load = move || {
            let begun = Instant::now();
            let loaded = match loader.compiling {
                Compiling::IfNeeded => loader.load_or_compile(&path),
                Compiling::Never => loader.load_compiled(&path),
            };
            loaded.map(|loaded| (loaded, begun.elapsed()))
        };
        let loaded = self.threads.spawn(load).await;
        loaded.map_err(|panic| format!("loading panicked: {panic}"))?
    }

    fn load_or_compile(&self, path: &Path) -> Result<Loaded, String> {
        let loaded = match self.cache() {
            Ok(cache) => cache.load(&self.engine, path),
            Err(_) => Component::load(&self.engine, path).map(|component| Loaded {
                component,
                origin: Origin::Compiler,
                not_kept: None,
            }),
        };
        loaded.map_err(|error| error.to_string())
    }

    fn load_compiled(&self, path: &Path) -> Result<Loaded, String> {
        let cache = self.cache().as_ref().map_err(|error| {
            format!(
                "{}: not loaded, since the server is started with --no-compile, and cannot use the cache of compiled \
                 components: {error}",
                path.display()
            )
        })?;
        match cache.load_compiled(&self.engine, path) {
            Ok(component) => Ok(Loaded {
                component,
                origin: Origin::Cache,
                not_kept: None,
            }),
            Err(error @ NotCompiled::Load(_)) => Err(error.to_string()),
            Err(error @ (NotCompiled::Missing { .. } | NotCompiled::Unusable { .. })) => {
                let execution = match error {
                    NotCompiled::Unusable { .. } => {
                        " (under MemoryDenyWriteExecute, its file system has to allow execution)"
                    }
                    _ => "",
                };
                Err(format!(
                    "{error}{execution}; the server is started with --no-compile. To compile it, run as the server's \
                     user: wasmtime-unitd compile --cachedir {:?} {path:?}",
                    cache.path()
                ))
            }
        }
    }

    fn cache(&self) -> &Result<Cache, String> {
        self.cache.get_or_init(|| {
            let folder = self.folder.as_ref().ok_or("no folder is set")?;
            Cache::open(folder).map_err(|error| {
                if self.compiling == Compiling::IfNeeded {
                    tracing::warn!(
                        "cannot use the cache of compiled components: {error}; components will be compiled at each start"
                    );
                }
                error.to_string()
            })
        })
    }
}
