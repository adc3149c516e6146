//! Requests that guests send.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HOST, TE};
use http::{HeaderName, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_message::is_hop_by_hop;
use outbound::{Client, Timeouts};
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use crate::sandbox::host_body::{self, HostBody};

/// What `wasmtime-wasi-http` waits for: the response, and a task of the connection's, of which the
/// client's pool needs none.
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Driver), Error>> + Send>;
type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// What holds while a guest runs: requests go where its application's policy allows, and no fields
/// may be set that are the connection's business.
pub(crate) struct Confined {
    client: Client,
    /// Shared with the bodies that the guest sends, once it sends any.
    guest: Option<Arc<Presence>>,
    outgoing_chunk: usize,
    outgoing_chunks: usize,
}

/// Whether a guest is still there.
#[derive(Default)]
struct Presence {
    is_gone: AtomicBool,
}

impl Confined {
    /// Of a response, the host holds so many chunks of so many bytes.
    pub(crate) fn new(client: Client, chunk: usize, chunks: usize) -> Self {
        Self {
            client,
            guest: None,
            outgoing_chunk: chunk,
            outgoing_chunks: chunks,
        }
    }

    /// From now on a body of the guest's that ends has not been finished. To be called before what
    /// the guest holds is dropped.
    pub(crate) fn leave(&self) {
        if let Some(guest) = &self.guest {
            guest.is_gone.store(true, Ordering::SeqCst);
        }
    }
}

impl WasiHttpHooks for Confined {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_refused(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_refused)
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Driver,
    ) -> Sent {
        let options = options.unwrap_or_default();
        let timeouts = Timeouts {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        let request = request.map(|body| Upload {
            body,
            guest: Arc::clone(self.guest.get_or_insert_default()),
            is_passed_on: false,
        });
        let response = self.client.send(request, timeouts);
        Box::new(async move {
            let response = response.await.map_err(error)?;
            let response = response.map(|body| HostBody::new(body.map_err(error)).boxed_unsync());
            Ok((response, Box::new(std::future::ready(Ok(()))) as Driver))
        })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        self.outgoing_chunks
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.outgoing_chunk
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        self.outgoing_chunk
    }
}

/// What holds while the request is told to the guest: every field passes, since `request` has chosen
/// them. (`wasmtime-wasi-http` would take `host` away, and removing one field reorders the others.)
pub(crate) struct Admitting;

impl WasiHttpHooks for Admitting {
    fn is_forbidden_header(&mut self, _: &HeaderName) -> bool {
        false
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|_| false)
    }

    fn send_request(&mut self, _: Request<WasiBody>, _: Option<RequestOptions>, _: Driver) -> Sent {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}

/// Fields that a guest may not send: those that are hop-by-hop, and `host`, which is set from the URI. `te` it may:
/// it says whether the guest wants trailers.
fn is_refused(name: &HeaderName) -> bool {
    *name == HOST || (is_hop_by_hop(name) && *name != TE)
}

/// The body of a guest's request. When the guest goes before it has finished it, it is cut off,
/// unless the guest has passed on what others send.
struct Upload {
    body: WasiBody,
    guest: Arc<Presence>,
    is_passed_on: bool,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let (frame, is_passed_on) = host_body::watch(|| Pin::new(&mut self.body).poll_frame(cx));
        self.is_passed_on |= is_passed_on;
        // What a guest leaves behind looks finished, whether it is or not.
        let is_left = !self.is_passed_on && self.guest.is_gone.load(Ordering::SeqCst);
        if is_left && matches!(frame, Poll::Ready(None)) {
            return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && !self.guest.is_gone.load(Ordering::SeqCst)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a guest is told.
fn error(error: outbound::Error) -> Error {
    use outbound::Error as Outbound;

    tracing::debug!("an outgoing request fails: {error}");
    match error {
        Outbound::Denied(_) => Error::HttpRequestDenied,
        Outbound::AddressProhibited(_) => Error::DestinationIpProhibited,
        Outbound::Uri(_) => Error::HttpRequestUriInvalid,
        Outbound::Method => Error::HttpRequestMethodInvalid,
        Outbound::Upgrade => Error::HttpUpgradeFailed,
        Outbound::ContentLength => Error::HttpRequestHeaderSize {
            field_name: Some("content-length".to_owned()),
            field_size: None,
        },
        Outbound::RequestBodySize { announced } => Error::HttpRequestBodySize(Some(announced)),
        // The guest's own doing, or that of whoever sends it what it sends on.
        Outbound::RequestBody(_) => Error::HttpProtocolError,
        Outbound::ConnectionLimit => Error::ConnectionLimitReached,
        Outbound::Dns { reason, .. } => Error::DnsError {
            rcode: Some(reason),
            info_code: None,
        },
        Outbound::DnsTimeout(_) => Error::DnsTimeout,
        Outbound::Refused => Error::ConnectionRefused,
        Outbound::Unreachable(_) => Error::DestinationUnavailable,
        Outbound::ConnectTimeout => Error::ConnectionTimeout,
        Outbound::TlsCertificate(_) => Error::TlsCertificateError,
        Outbound::TlsAlert { code, description } => Error::TlsAlertReceived {
            alert_id: Some(code),
            alert_message: Some(description),
        },
        Outbound::TlsProtocol(_) => Error::TlsProtocolError,
        Outbound::Terminated => Error::ConnectionTerminated,
        // As `wasmtime serve` has it: both are time-outs of reading.
        Outbound::FirstByteTimeout | Outbound::BetweenBytesTimeout => Error::ConnectionReadTimeout,
        Outbound::ResponseHeaderTooLarge => Error::HttpResponseHeaderSectionSize(None),
        Outbound::Protocol(_) => Error::HttpProtocolError,
        Outbound::ResponseIncomplete => Error::HttpResponseIncomplete,
    }
}
