use std::sync::Arc;

use http::HeaderName;
use wasmtime::component::ResourceTable;
use wasmtime::error::Context as _;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::RequestId;
use crate::application::{Access, Directory, Settings};
use crate::limits::{MemoryAccount, MemoryBudget};
use crate::log::{GuestLog, Printing, Stream};

/// Bytes of one response that the host holds for a client that has not read them yet, before
/// the guest has to wait.
pub const OUTGOING_BUFFER: usize = CHUNK * (CHUNKS + 1);

/// Bytes that a guest may write in one go.
const CHUNK: usize = 64 * 1024;

/// Writes that are held, besides the one that `wasmtime-wasi-http` always adds.
const CHUNKS: usize = 3;

/// Handles that a guest may hold at a time: requests, fields, streams, pollables.
const MAX_RESOURCES: usize = 1024;

/// Bytes of one `fields` resource. With [`MAX_RESOURCES`] this bounds what a guest can make
/// the host hold outside its own memory.
const MAX_FIELDS: usize = 64 * 1024;

/// All that one instance has on the host's side: its store's data.
pub(crate) struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Confined,
    table: ResourceTable,
    memory: MemoryAccount,
}

impl Guest {
    /// # Errors
    ///
    /// When one of the application's folders cannot be opened.
    pub(crate) fn new(
        settings: &Settings,
        printing: &Arc<Printing>,
        id: RequestId,
        budget: Arc<MemoryBudget>,
    ) -> wasmtime::Result<Self> {
        let log = |stream| GuestLog::new(Arc::clone(printing), id, stream);
        let mut wasi = WasiCtx::builder();
        for directory in &settings.directories {
            let Directory {
                host,
                guest,
                access,
            } = directory;
            let permissions = match access {
                Access::ReadOnly => FsPerms::ReadOnly,
                Access::ReadWrite => FsPerms::ReadWrite,
            };
            wasi.preopened_dir(host, guest, permissions)
                .with_context(|| format!("the folder {} cannot be opened", host.display()))?;
        }
        let wasi = wasi
            .stdout(log(Stream::Stdout))
            .stderr(log(Stream::Stderr))
            .envs(&settings.environment)
            // Without these a socket can be made and only fails when it is used.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let memory = MemoryAccount::new(budget, settings.limits.memory);
        Ok(Self {
            wasi,
            http,
            hooks: Confined,
            table,
            memory,
        })
    }

    pub(crate) fn memory(&mut self) -> &mut MemoryAccount {
        &mut self.memory
    }

    /// The view for telling the guest its request, whose fields have been chosen already.
    pub(crate) fn admitting<'a>(&'a mut self, hooks: &'a mut Admitting) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView {
            hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
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

/// What holds while a guest runs: no outgoing requests, and no fields that are the connection's
/// business.
struct Confined;

impl WasiHttpHooks for Confined {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_connection_field(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_connection_field)
    }

    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> SentRequest {
        denied()
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }
}

/// What holds while the request is told to the guest: every field passes, since `request`
/// has chosen them. (`wasmtime-wasi-http` would take `host` away, and removing one field
/// reorders the others.)
pub(crate) struct Admitting;

impl WasiHttpHooks for Admitting {
    fn is_forbidden_header(&mut self, _: &HeaderName) -> bool {
        false
    }

    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> SentRequest {
        denied()
    }
}

type SentRequest = Box<
    dyn Future<
            Output = Result<
                (
                    http::Response<WasiBody>,
                    Box<dyn Future<Output = Result<(), Error>> + Send>,
                ),
                Error,
            >,
        > + Send,
>;

fn denied() -> SentRequest {
    Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
}

/// Fields that belong to one connection and not to the message (RFC 9110, section 7.6.1), and
/// those that HTTP's framing or routing depends on: a guest may not send them.
fn is_connection_field(name: &HeaderName) -> bool {
    DEFAULT_FORBIDDEN_HEADERS.contains(name)
}
