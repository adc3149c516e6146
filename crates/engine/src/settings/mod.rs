//! What an application is made with. Nothing here is looked up or opened; the sandbox does that for each instance.

pub(crate) mod authority;
pub(crate) mod directory;
pub(crate) mod limits;

use std::num::NonZeroU32;
use std::sync::Arc;

use outbound_policy::Policy;
use unit_log::Output;

use crate::settings::authority::GuestAuthority;
use crate::settings::directory::Directory;
use crate::settings::limits::Limits;

/// The settings of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name of the application in the log.
    pub name: Arc<str>,
    /// The environment of its guests, in this order. They see nothing of the process's own. Default: empty.
    pub environment: Vec<(String, String)>,
    /// The folders that its guests may use. Default: none.
    pub directories: Vec<Directory>,
    /// Where its guests may send requests to. Default: nowhere.
    pub outbound: Policy,
    /// Which authority guests see in their requests. Default (`None`): [`GuestAuthority::ServerName`] for
    /// components of WASI 0.2, [`GuestAuthority::Host`] for those of 0.3.
    pub authority: Option<GuestAuthority>,
    /// How many requests an instance serves. Default: one.
    pub instances: Instances,
    /// Limits of time, memory, files and concurrency.
    pub limits: Limits,
    /// Where the standard output of guests goes. Default: to the log.
    pub stdout: Output,
    /// Where the standard error of guests goes. Default: to the log.
    pub stderr: Output,
}

impl Settings {
    /// The defaults: no environment, no folders, no outgoing requests, one request per instance.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            environment: Vec::new(),
            directories: Vec::new(),
            outbound: Policy::default(),
            authority: None,
            instances: Instances::default(),
            limits: Limits::default(),
            stdout: Output::default(),
            stderr: Output::default(),
        }
    }
}

/// How many requests one instance serves.
///
/// The default is one: requests are isolated from each other. With more, requests of the application share
/// what a guest leaves in its memory, tables and open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instances {
    /// Requests that an instance serves before it is destroyed. Default: 1.
    pub reuse: NonZeroU32,
    /// Requests that an instance serves at the same time. Needs `reuse` above 1 and a component of WASI 0.3;
    /// one of WASI 0.2 serves one at a time. Default: 1.
    pub concurrency: NonZeroU32,
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            reuse: NonZeroU32::MIN,
            concurrency: NonZeroU32::MIN,
        }
    }
}
