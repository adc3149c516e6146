//! The data of a sandbox's store: what the host holds for one guest, and the bounds of that.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use crate::RequestId;
use crate::sandbox::body_failures::BodyFailures;
use crate::sandbox::egress::{GuestHooks, HostHooks};
use crate::sandbox::memory::MemoryAccount;
use crate::sandbox::open_files::OpenFiles;
use crate::sandbox::template::Template;
use crate::sandbox::wasi::Wasi;

/// Bytes of one response that the host buffers for a slow client before the guest has to wait (back-pressure).
pub const OUTGOING_BUFFER: usize = CHUNK * (CHUNKS + 1) + AHEAD + CHUNK;

/// Bytes of a body that are read ahead of its head, if the guest has written them. The piece that reaches this
/// is the last.
pub(crate) const AHEAD: usize = 16 * 1024;

/// Bytes that a guest may write in one call: as much as fits, with its framing, into one segment of the
/// loopback device or of a network card with segmentation offload (64 KiB). Slightly more would cost a second,
/// tiny segment.
const CHUNK: usize = 63 * 1024;

/// Writes that are buffered, beside the one that `wasmtime-wasi-http` always adds.
const CHUNKS: usize = 3;

/// Handles that a guest may hold at a time: requests, fields, streams, pollables.
const MAX_RESOURCES: usize = 1024;

/// Bytes of one `fields` resource. With [`MAX_RESOURCES`] this bounds what a guest can make the host hold
/// outside of the guest's own memory.
const MAX_FIELDS: usize = 64 * 1024;

/// Everything that the host holds for one instance: the data of its store.
pub(crate) struct Guest {
    template: Arc<Template>,
    wasi: Wasi,
    http: WasiHttpCtx,
    hooks: GuestHooks,
    host_hooks: HostHooks,
    table: ResourceTable,
    memory: MemoryAccount,
    /// Declared after the table, so that the handles are closed when this is dropped.
    extra: Option<Box<Extra>>,
}

/// What only guests need that use files or read their request's body. Boxed, to keep the store's data of all others
/// small.
#[derive(Default)]
struct Extra {
    body_failures: BodyFailures,
    files: Option<OpenFiles>,
}

impl Guest {
    /// # Errors
    ///
    /// When one of the application's folders cannot be opened.
    pub(crate) fn new(template: &Arc<Template>, id: RequestId) -> wasmtime::Result<Self> {
        let wasi = Wasi::new(template, id)?;
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let limit = template.settings.limits.memory;
        let memory = MemoryAccount::new(Arc::clone(&template.memory), limit);
        Ok(Self {
            template: Arc::clone(template),
            wasi,
            http,
            hooks: GuestHooks::new(template.client.clone(), CHUNK, CHUNKS),
            host_hooks: HostHooks,
            table,
            memory,
            extra: None,
        })
    }

    /// The account of its files.
    pub(crate) fn files(&mut self) -> &mut OpenFiles {
        let template = &self.template;
        let extra = self.extra.get_or_insert_default();
        extra.files.get_or_insert_with(|| {
            let (descriptors, memory) = (&template.descriptors, &template.memory);
            let limits = &template.settings.limits;
            OpenFiles::new(
                Arc::clone(descriptors),
                Arc::clone(memory),
                limits.files,
                limits.memory,
            )
        })
    }

    /// Attributes what the guest prints from now on to this request.
    pub(crate) fn serve_next(&self, id: RequestId) {
        self.wasi.serve_next(id);
    }

    /// To be called before the guest's handles are dropped: its unfinished uploads must not look complete.
    pub(crate) fn leave(&self) {
        self.hooks.leave();
    }

    /// The failures of the bodies that it reads.
    pub(crate) fn body_failures(&mut self) -> &mut BodyFailures {
        &mut self.extra.get_or_insert_default().body_failures
    }

    /// The same; `None` if it has read no body.
    pub(crate) fn known_body_failures(&mut self) -> Option<&mut BodyFailures> {
        self.extra.as_mut().map(|extra| &mut extra.body_failures)
    }

    pub(crate) fn memory(&mut self) -> &mut MemoryAccount {
        &mut self.memory
    }

    /// The view for giving the guest its request, with the fields that [`request`](crate::sandbox::request) has
    /// chosen.
    pub(crate) fn host_view(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.host_hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

impl IoView for Guest {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: self.wasi.ctx(&self.template),
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}
