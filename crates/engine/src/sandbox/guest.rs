use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use crate::RequestId;
use crate::application::Inner;
use crate::sandbox::egress::{Admitting, Confined};
use crate::sandbox::incoming_body::BodyFailures;
use crate::sandbox::memory::MemoryAccount;
use crate::sandbox::open_files::OpenFiles;
use crate::sandbox::wasi::Wasi;

/// Bytes of one response that the host holds for a client that has not read them yet, before
/// the guest has to wait.
pub const OUTGOING_BUFFER: usize = CHUNK * (CHUNKS + 1) + AHEAD + CHUNK;

/// Bytes of a body that are read before its head goes out, if they are there; the piece that makes
/// them more is the last.
pub(crate) const AHEAD: usize = 16 * 1024;

/// Bytes that a guest may write in one go: as much as fits, with its framing, into one segment of the
/// loopback device, or of a network card that cuts segments itself. A little more costs a second,
/// tiny segment.
const CHUNK: usize = 63 * 1024;

/// Writes that are held, besides the one that `wasmtime-wasi-http` always adds.
const CHUNKS: usize = 3;

/// Handles that a guest may hold at a time: requests, fields, streams, pollables.
const MAX_RESOURCES: usize = 1024;

/// Bytes of one `fields` resource. With [`MAX_RESOURCES`] this bounds what a guest can make
/// the host hold outside its own memory.
const MAX_FIELDS: usize = 64 * 1024;

/// All that one instance has on the host's side: its store's data.
pub(crate) struct Guest {
    wasi: Wasi,
    http: WasiHttpCtx,
    hooks: Confined,
    admitting: Admitting,
    table: ResourceTable,
    memory: MemoryAccount,
    /// After the handles, so that those are closed by then.
    extra: Option<Box<Extra>>,
}

/// What the host has of a guest that uses files, or reads its request's body. Apart, so that for others
/// there is less to be written.
#[derive(Default)]
struct Extra {
    body_failures: BodyFailures,
    files: Option<OpenFiles>,
}

impl Guest {
    /// # Errors
    ///
    /// When one of the application's folders cannot be opened.
    pub(crate) fn new(application: &Inner, id: RequestId) -> wasmtime::Result<Self> {
        let wasi = Wasi::new(application, id)?;
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let holdings = Arc::clone(&application.holdings);
        let memory = MemoryAccount::new(holdings, application.settings.limits.memory);
        Ok(Self {
            wasi,
            http,
            hooks: Confined::new(application.client.clone(), CHUNK, CHUNKS),
            admitting: Admitting,
            table,
            memory,
            extra: None,
        })
    }

    /// The account of its files.
    pub(crate) fn files(&mut self) -> &mut OpenFiles {
        let (memory, wasi) = (&self.memory, &self.wasi);
        let extra = self.extra.get_or_insert_default();
        extra.files.get_or_insert_with(|| {
            let holdings = Arc::clone(memory.holdings());
            OpenFiles::new(holdings, wasi.settings().limits.files, memory.limit())
        })
    }

    /// From now on the guest works for this request, too.
    pub(crate) fn serve_next(&self, id: RequestId) {
        self.wasi.serve_next(id);
    }

    /// To be called before what the guest holds is dropped.
    pub(crate) fn leave(&self) {
        self.hooks.leave();
    }

    /// Of the bodies that it reads.
    pub(crate) fn body_failures(&mut self) -> &mut BodyFailures {
        &mut self.extra.get_or_insert_default().body_failures
    }

    /// The same, unless it has read none.
    pub(crate) fn known_body_failures(&mut self) -> Option<&mut BodyFailures> {
        self.extra.as_mut().map(|extra| &mut extra.body_failures)
    }

    pub(crate) fn memory(&mut self) -> &mut MemoryAccount {
        &mut self.memory
    }

    /// The view for telling the guest its request, whose fields have been chosen already.
    pub(crate) fn admitting(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.admitting,
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
            ctx: self.wasi.ctx(),
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
