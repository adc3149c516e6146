//! Loads components, from the cache or compiled, several at a time.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use code_cache::{Cache, Loaded, Origin};
use control::BlockingThreads;
use engine::{Component, Engine};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How often the log says how far a long load has come.
const PROGRESS: Duration = Duration::from_secs(5);

/// Components that are loaded at a time, on a machine with as many cores: each is compiled by all cores
/// as far as it can be, and takes up to some hundred MiB meanwhile.
const AT_ONCE: usize = 4;

/// Loads components for one engine.
pub(crate) struct Loader {
    engine: Engine,
    /// Where compiled components are kept, if anywhere.
    folder: Option<PathBuf>,
    /// That folder, opened when it is first needed: by then the process runs as its user.
    cache: OnceLock<Option<Cache>>,
    /// Those that are loaded now.
    places: Semaphore,
    threads: BlockingThreads,
}

impl Loader {
    pub(crate) fn new(
        engine: Engine,
        folder: Option<PathBuf>,
        threads: BlockingThreads,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            folder,
            cache: OnceLock::new(),
            places: Semaphore::new(
                available_parallelism().map_or(1, |cores| cores.get().min(AT_ONCE)),
            ),
            threads,
        })
    }

    /// Loads the components in these files, off the threads that serve. A component that does not
    /// load has its reason.
    pub(crate) async fn load(
        self: &Arc<Self>,
        paths: BTreeSet<PathBuf>,
    ) -> HashMap<PathBuf, Result<Component, String>> {
        let total = paths.len();
        let mut loading = JoinSet::new();
        for path in paths {
            let loader = Arc::clone(self);
            loading.spawn(async move {
                let loaded = loader.load_one(&path).await;
                (path, loaded)
            });
        }
        let mut components = HashMap::with_capacity(total);
        loop {
            let next = match tokio::time::timeout(PROGRESS, loading.join_next()).await {
                Ok(Some(next)) => next,
                Ok(None) => return components,
                Err(_) => {
                    let done = components.len();
                    tracing::info!("loading components: {done} of {total} are ready");
                    continue;
                }
            };
            // Its only failure would be a panic, which `load_one` has caught.
            let Ok((path, loaded)) = next else { continue };
            let done = components.len() + 1;
            let loaded = loaded.map(|(loaded, took)| {
                let took = took.as_millis();
                match loaded.origin {
                    Origin::Cache => tracing::info!(
                        "component {path:?} is loaded from the cache in {took} ms ({done} of {total})"
                    ),
                    Origin::Compiler => tracing::info!(
                        "component {path:?} is compiled in {took} ms ({done} of {total})"
                    ),
                }
                if let Some(error) = loaded.not_kept {
                    tracing::warn!("component {path:?} will be compiled again: it cannot be kept: {error}");
                }
                loaded.component
            });
            components.insert(path, loaded);
        }
    }

    async fn load_one(self: &Arc<Self>, path: &Path) -> Result<(Loaded, Duration), String> {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let loader = Arc::clone(self);
        let path = path.to_owned();
        let load = move || {
            let begun = Instant::now();
            let loaded = match loader.cache() {
                Some(cache) => cache.load(&loader.engine, &path),
                None => Component::load(&loader.engine, &path).map(|component| Loaded {
                    component,
                    origin: Origin::Compiler,
                    not_kept: None,
                }),
            };
            loaded.map(|loaded| (loaded, begun.elapsed()))
        };
        let loaded = self.threads.spawn(load).await;
        (loaded.map_err(|panic| format!("loading failed: {panic}"))?)
            .map_err(|error| error.to_string())
    }

    fn cache(&self) -> Option<&Cache> {
        let open = || match Cache::open(self.folder.clone()?) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::warn!("compiled components are not kept: {error}");
                None
            }
        };
        self.cache.get_or_init(open).as_ref()
    }
}
