//! The limits of an application, as numbers: unit, default, and what happens when one is reached. `run`, `engine` and
//! `sandbox` enforce them.

use std::num::NonZeroU32;
use std::time::Duration;

/// Limits of an application. Each holds for every one of its requests or instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the end of the request's header section to the start of the response, wall clock.
    /// Default: 30 seconds; [`Duration::MAX`] is no limit. When it is reached, the client gets 504.
    pub timeout: Duration,
    /// Processor time of the guest, from its start to its end, also after the response; waiting does not count.
    /// An instance that serves several requests at a time may compute for so long for each of them.
    /// Default: 10 seconds; [`Duration::MAX`] is no limit. When it is reached, the client gets 504, or
    /// a response that is cut off.
    pub execution_timeout: Duration,
    /// Linear memories and tables of one instance together, in bytes. Default: 256 MiB. When it
    /// is reached, `memory.grow` fails in the guest, as it would on a full machine.
    pub memory: u64,
    /// Requests in progress. Default (`None`): as many as the application gets of
    /// [`Engine::instances`](crate::Engine::instances) while no other has any, which is three quarters
    /// with a `weight` of 1, divided by the number of usual instances that one of its instances counts for; all
    /// of them with [`Options::sole_application`](crate::Options::sole_application). When it is reached, the next request waits for up to a second, then gets 503.
    pub concurrency: Option<NonZeroU32>,
    /// Files and folders that one instance may have open, beside those of
    /// [`Settings::directories`](crate::Settings::directories). Default: 64. When it is reached, opening one more
    /// fails in the guest with `quota`.
    pub files: u32,
    /// The application's share, relative to other applications, of instances, memory, open files (outgoing
    /// connections included), and processor time of guests that compute for long.
    /// Default: 1.
    pub weight: NonZeroU32,
    /// How long a guest may run after its response, or the last of several, has ended, wall clock.
    /// Default: 30 seconds; [`Duration::MAX`] is no limit. When it is reached, the instance is cancelled, with a
    /// warning in the log.
    pub after_response: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            execution_timeout: Duration::from_secs(10),
            memory: 256 << 20,
            concurrency: None,
            files: 64,
            weight: NonZeroU32::MIN,
            after_response: Duration::from_secs(30),
        }
    }
}
