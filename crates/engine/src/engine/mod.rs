//! What all applications share: the instances and who gets one, memory, files, the clock that interrupts
//! guests, and the background. An application and its requests are not known here.

pub(crate) mod background;
pub(crate) mod code_memory;
pub(crate) mod concurrency_limit;
pub(crate) mod epoch;
pub(crate) mod idle;
pub(crate) mod instance;
pub(crate) mod instance_pool;
pub(crate) mod pool;
pub(crate) mod wait;

mod cgroup;
mod instance_quota;
mod system_limits;
mod wait_queues;

use std::hash::{Hash as _, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::budget::Budget;
use crate::engine::background::Background;
use crate::engine::code_memory::CodeMemory;
use crate::engine::epoch::Ticker;
use crate::engine::idle::IdlePool;
use crate::engine::instance::Instance;
use crate::engine::instance_pool::{Grant, InstancePool, InstanceShare};
use crate::sandbox::descriptors::DescriptorBudget;
use crate::sandbox::flavor::Flavor;

/// Bytes of memory per instance, for the default number of instances.
const MEMORY_PER_INSTANCE: u64 = 16 << 20;

/// Bounds of the default number of instances.
const LEAST_INSTANCES: u64 = 16;
const MOST_INSTANCES: u64 = 1000;

/// The options of an [`Engine`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Instances at a time, of all applications together. Default: one per 16 MiB of `memory`, at least 16 and at
    /// most 1000. At the limit requests wait for up to a second, then get 503.
    pub instances: u32,
    /// Linear memories and tables of all instances together, in bytes. Default: three quarters of the machine's
    /// memory, or of the limit of the process's control group if that is lower; 4 GiB where neither can be read. At the
    /// limit `memory.grow` fails.
    pub memory: u64,
    /// A runtime with threads of its own. Guests that compute for long are offloaded to it, so that they do not
    /// delay others on the threads that serve. Default: none; such guests are not offloaded.
    pub background: Option<Handle>,
    /// Open files and outgoing connections of all guests together. Default: half of the soft limit of open
    /// files of the process (`RLIMIT_NOFILE`).
    pub files: u64,
    /// Whether there will be one application only. It may then use all of the above; otherwise applications
    /// share them by [`weight`](crate::Limits::weight), and a single one of weight 1 gets three quarters.
    /// Default: `false`.
    pub sole_application: bool,
    /// What makes machine code executable. Default: Wasmtime, by mprotect(2).
    pub code_memory: Option<CodeMemory>,
}

impl Options {
    /// The defaults for a machine whose instances may have so many bytes of memory.
    #[must_use]
    pub fn for_memory(memory: u64) -> Self {
        let instances = (memory / MEMORY_PER_INSTANCE).clamp(LEAST_INSTANCES, MOST_INSTANCES);
        Self {
            instances: instances as u32,
            memory,
            background: None,
            files: system_limits::files() / 2,
            sole_application: false,
            code_memory: None,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::for_memory(system_limits::memory().map_or(4 << 30, |bytes| bytes / 4 * 3))
    }
}

/// What all applications of a process share: Wasmtime with its instance pool, the linked WASI, the budgets, and the
/// clock that interrupts guests.
///
/// Cloning is cheap: clones are the same engine.
#[derive(Clone)]
pub struct Engine(Arc<EngineInner>);

struct EngineInner {
    sequential: Flavor,
    concurrent: Flavor,
    ticker: Ticker,
    memory: Arc<Budget>,
    descriptors: Arc<DescriptorBudget>,
    instances: Arc<InstancePool<Instance>>,
    idle: IdlePool<Instance>,
    is_pooled: bool,
    background: Option<Background>,
}

/// Why an engine cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Wasmtime cannot be initialised on this machine.
    #[error("wasmtime cannot start: {0:#}")]
    Wasmtime(wasmtime::Error),
    /// The thread that interrupts guests cannot be started.
    #[error("cannot start the thread that interrupts guests: {0}")]
    Thread(#[from] io::Error),
}

impl Engine {
    /// Reserves the instance pool and links WASI.
    ///
    /// If the address space is too small for the pool, three quarters as many instances are tried, and so on. Below
    /// 16, instances are allocated one by one, which is slower. Both are logged as warnings.
    ///
    /// # Errors
    ///
    /// When Wasmtime or the thread that interrupts guests cannot be started.
    pub fn new(options: &Options) -> Result<Self, EngineError> {
        let ([sequential, concurrent], total, is_pooled) =
            pool::allocate(options.instances.max(1), options.code_memory.as_ref())
                .map_err(EngineError::Wasmtime)?;
        let ticker = Ticker::start([sequential.weak(), concurrent.weak()])?;
        let budget = if options.sole_application {
            Budget::exclusive
        } else {
            Budget::fair
        };
        let flavor = |wasmtime| Flavor::new(wasmtime).map_err(EngineError::Wasmtime);
        Ok(Self(Arc::new(EngineInner {
            sequential: flavor(sequential)?,
            concurrent: flavor(concurrent)?,
            ticker,
            memory: budget(options.memory),
            descriptors: DescriptorBudget::new(budget(options.files)),
            instances: InstancePool::new(budget(total.into())),
            idle: IdlePool::default(),
            is_pooled,
            background: options.background.clone().map(Background::new),
        })))
    }

    /// How many instances may exist at a time, of all applications.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.0.instances.total()
    }

    /// How many instances exist now, of all applications, idle ones included.
    #[must_use]
    pub fn active_instances(&self) -> u32 {
        self.0.instances.taken()
    }

    /// Whether instances come from a pool. If not, making one takes several system calls.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.0.is_pooled
    }

    /// Linear memories and tables of all instances now, in bytes.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.0.memory.used()
    }

    /// The limit of [`memory_used`](Self::memory_used), in bytes.
    #[must_use]
    pub fn memory_limit(&self) -> u64 {
        self.0.memory.limit()
    }

    /// Open files and outgoing connections of all guests now.
    #[must_use]
    pub fn files_used(&self) -> u64 {
        self.0.descriptors.used()
    }

    /// The limit of [`files_used`](Self::files_used).
    #[must_use]
    pub fn files_limit(&self) -> u64 {
        self.0.descriptors.limit()
    }

    /// The number of epoch ticks so far. Guests that compute are interrupted at each; without any there are no ticks.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.0.ticker.ticks()
    }

    /// Feeds to `state` what machine code depends on: the version of Wasmtime and the settings of its compiler.
    /// [Images](crate::Component::image) fit only engines with the same fingerprint.
    pub fn fingerprint(&self, state: &mut impl Hasher) {
        for flavor in self.flavors() {
            flavor.wasmtime.precompile_compatibility_hash().hash(state);
        }
    }

    /// Waits until no instance is left, of any application, for a graceful shutdown. Idle instances are
    /// destroyed, and none is kept from now on. Requests that arrive meanwhile are served, and waited for, too.
    pub async fn wait_idle(&self) {
        self.0.idle.close();
        self.0.instances.wait_idle().await;
    }

    /// The share of the instances for a new application of this weight, each instance of which counts for `slots`.
    pub(crate) fn instance_share(&self, weight: u64, slots: u64) -> Arc<InstanceShare<Instance>> {
        InstanceShare::new(Arc::clone(&self.0.instances), weight, slots)
    }

    /// The default of [`Limits::concurrency`](crate::Limits::concurrency) for an application of this weight, each
    /// instance of which counts for `slots`.
    pub(crate) fn default_concurrency(&self, weight: u64, slots: u64) -> u32 {
        let most = (self.0.instances.budget().most(weight) / slots).max(1);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// Whether a request of this application would get an instance without waiting.
    pub(crate) fn has_room(&self, application: &InstanceShare<Instance>) -> bool {
        application.has_room(self.0.idle.slots_for(application))
    }

    pub(crate) fn background(&self) -> Option<&Background> {
        self.0.background.as_ref()
    }

    /// A permit for a new instance, or an instance that another request of the application has left. Waits
    /// where there is neither, and destroys idle instances to make room. `None` when that takes longer than a
    /// second or `limit`, or the queue is full.
    pub(crate) async fn acquire(
        &self,
        application: &Arc<InstanceShare<Instance>>,
        limit: Duration,
    ) -> Option<Grant<Instance>> {
        let EngineInner {
            instances, idle, ..
        } = &*self.0;
        let find = || {
            let found = idle.take(application);
            if found.is_none() {
                idle.make_room(instances);
            }
            found
        };
        (application.acquire(limit, find, |instance| self.keep(instance))).await
    }

    /// Hands an instance over to a waiting request of its application, if it is that one's turn, or keeps it idle.
    pub(crate) fn keep(&self, instance: Instance) {
        let EngineInner {
            instances, idle, ..
        } = &*self.0;
        let mut kept = Some(instance);
        while let Some(instance) = kept {
            if let Err(instance) = instances.hand_over(instance) {
                idle.put(instance);
            }
            // After `put`, in this order: a request that begins to wait either sees the idle instance, or is seen
            // here.
            if !instances.is_awaited() {
                return;
            }
            kept = idle.take_for(|application| instances.is_awaited_by(application));
        }
        idle.make_room(instances);
    }

    pub(crate) fn idle_instances(&self) -> &IdlePool<Instance> {
        &self.0.idle
    }

    /// The engines, in the order in which loading a component with them is tried.
    pub(crate) fn flavors(&self) -> [&Flavor; 2] {
        [&self.0.sequential, &self.0.concurrent]
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.0.ticker
    }

    pub(crate) fn memory(&self) -> &Arc<Budget> {
        &self.0.memory
    }

    pub(crate) fn descriptors(&self) -> &Arc<DescriptorBudget> {
        &self.0.descriptors
    }
}
