use std::sync::Arc;

use unit_log::{ApplicationOutput, CurrentRequest, StandardStream};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::RequestId;
use crate::application::{Inner, Settings};
use crate::sandbox::directory::OpenFolders;
use crate::sandbox::stdio::GuestStdio;

/// What WASI has for one guest beyond HTTP: environment, folders, clocks, random numbers, and where
/// it prints to.
///
/// Most of it is made when the guest asks for any of it, which one that only answers requests never
/// does: two seeded generators and a dozen allocations less.
pub(crate) struct Wasi {
    ctx: Option<Box<WasiCtx>>,
    settings: Arc<Settings>,
    output: Arc<ApplicationOutput>,
    current: CurrentRequest,
    /// Those of its application, as long as the guest is there.
    folders: Option<Arc<OpenFolders>>,
}

impl Wasi {
    /// # Errors
    ///
    /// When one of the application's folders cannot be opened, so that no guest starts without them.
    pub(crate) fn new(application: &Inner, id: RequestId) -> wasmtime::Result<Self> {
        let settings = &application.settings;
        let folders = if settings.directories.is_empty() {
            None
        } else {
            let descriptors = application.holdings.descriptors();
            Some(
                application
                    .folders
                    .open(&settings.directories, descriptors)?,
            )
        };
        Ok(Self {
            ctx: None,
            settings: Arc::clone(settings),
            output: Arc::clone(&application.output),
            current: CurrentRequest::new(id, settings.instances.reuse.get() > 1),
            folders,
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// From now on the guest works for this request, too.
    pub(crate) fn serve_next(&self, id: RequestId) {
        self.current.set(id);
    }

    pub(crate) fn ctx(&mut self) -> &mut WasiCtx {
        let ctx = match self.ctx.take() {
            Some(ctx) => ctx,
            None => self.build(),
        };
        self.ctx.insert(ctx)
    }

    fn build(&self) -> Box<WasiCtx> {
        let stdio =
            |stream| GuestStdio::new(Arc::clone(&self.output), self.current.clone(), stream);
        let ctx = WasiCtxBuilder::new()
            .stdout(stdio(StandardStream::Stdout))
            .stderr(stdio(StandardStream::Stderr))
            .envs(&self.settings.environment)
            // Without these a socket can be made and only fails when it is used.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Box::new(match &self.folders {
            Some(folders) => folders.give(ctx),
            None => ctx,
        })
    }
}
