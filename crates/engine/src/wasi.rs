use std::sync::Arc;

use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::RequestId;
use crate::application::{Inner, Settings};
use crate::log::{GuestLog, Printing, Speaker, Stream};

/// What WASI has for one guest beyond HTTP: environment, folders, clocks, random numbers, and where
/// it prints to.
///
/// Most of it is made when the guest asks for any of it, which one that only answers requests never
/// does: two seeded generators and a dozen allocations less.
pub(crate) struct Wasi {
    ctx: Option<Box<WasiCtx>>,
    settings: Arc<Settings>,
    printing: Arc<Printing>,
    speaker: Speaker,
}

impl Wasi {
    /// # Errors
    ///
    /// When one of the application's folders cannot be opened. They are opened here, so that no guest
    /// starts without them.
    pub(crate) fn new(application: &Inner, id: RequestId) -> wasmtime::Result<Self> {
        let settings = &application.settings;
        let mut wasi = Self {
            ctx: None,
            settings: Arc::clone(settings),
            printing: Arc::clone(&application.printing),
            speaker: Speaker::new(id, settings.instances.reuse.get() > 1),
        };
        if !settings.directories.is_empty() {
            let mut builder = WasiCtx::builder();
            for directory in &settings.directories {
                directory.open(&mut builder)?;
            }
            wasi.ctx = Some(wasi.build(builder));
        }
        Ok(wasi)
    }

    /// From now on the guest works for this request, too.
    pub(crate) fn serve_next(&self, id: RequestId) {
        self.speaker.set(id);
    }

    pub(crate) fn ctx(&mut self) -> &mut WasiCtx {
        let ctx = match self.ctx.take() {
            Some(ctx) => ctx,
            None => self.build(WasiCtx::builder()),
        };
        self.ctx.insert(ctx)
    }

    fn build(&self, mut builder: WasiCtxBuilder) -> Box<WasiCtx> {
        let log = |stream| GuestLog::new(Arc::clone(&self.printing), self.speaker.clone(), stream);
        let ctx = builder
            .stdout(log(Stream::Stdout))
            .stderr(log(Stream::Stderr))
            .envs(&self.settings.environment)
            // Without these a socket can be made and only fails when it is used.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Box::new(ctx)
    }
}
