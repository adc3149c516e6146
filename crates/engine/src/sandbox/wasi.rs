//! WASI beyond HTTP for one guest: environment, folders, clocks, random numbers, output.

use std::sync::Arc;

use unit_log::{CurrentRequest, StandardStream};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::RequestId;
use crate::sandbox::directory::OpenFolders;
use crate::sandbox::stdio::GuestStdio;
use crate::sandbox::template::Template;

/// The WASI context of one guest.
///
/// It is made when the guest first uses it, which a guest that only answers requests never does: that saves two
/// seeded random generators and a dozen allocations per request.
pub(crate) struct Wasi {
    ctx: Option<Box<WasiCtx>>,
    current: CurrentRequest,
    /// Those of its application, kept open for the guest.
    folders: Option<Arc<OpenFolders>>,
}

impl Wasi {
    /// # Errors
    ///
    /// When one of the application's folders cannot be opened, so that no guest starts without them.
    pub(crate) fn new(template: &Template, id: RequestId) -> wasmtime::Result<Self> {
        let settings = &template.settings;
        let folders = if settings.directories.is_empty() {
            None
        } else {
            let folders = &template.folders;
            Some(folders.open(&settings.directories, &template.descriptors)?)
        };
        Ok(Self {
            ctx: None,
            current: CurrentRequest::new(id, settings.instances.reuse.get() > 1),
            folders,
        })
    }

    /// Attributes what the guest prints from now on to this request.
    pub(crate) fn serve_next(&self, id: RequestId) {
        self.current.set(id);
    }

    pub(crate) fn ctx(&mut self, template: &Template) -> &mut WasiCtx {
        let ctx = match self.ctx.take() {
            Some(ctx) => ctx,
            None => self.build(template),
        };
        self.ctx.insert(ctx)
    }

    fn build(&self, template: &Template) -> Box<WasiCtx> {
        let log =
            |stream| GuestStdio::new(Arc::clone(&template.output), self.current.clone(), stream);
        let ctx = WasiCtxBuilder::new()
            .stdout(log(StandardStream::Stdout))
            .stderr(log(StandardStream::Stderr))
            .envs(&template.settings.environment)
            // Refuse sockets when they are made; by default they would fail only when they are used.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Box::new(match &self.folders {
            Some(folders) => folders.add_to(ctx),
            None => ctx,
        })
    }
}
