//! Outgoing requests of guests: the hooks that `wasmtime-wasi-http` calls, and error codes. Where requests may
//! go is decided by `outbound-policy`, and connections are made by `outbound`.

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

/// What `wasmtime-wasi-http` waits for: the response, and a task that drives the connection. Ours is driven by the
/// client's pool, so that task is empty.
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Driver), Error>> + Send>;
type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// The hooks for calls of the guest: its requests go where the application's policy allows, and it may not set
/// hop-by-hop fields.
pub(crate) struct GuestHooks {
    client: Client,
    /// Shared with the uploads of the guest. `None` until the first.
    guest: Option<Arc<GuestAlive>>,
    outgoing_chunk: usize,
    outgoing_chunks: usize,
}

/// Whether the guest of an upload still exists.
#[derive(Default)]
struct GuestAlive {
    is_gone: AtomicBool,
}

impl GuestHooks {
    /// `chunk` and `chunks` bound the buffer of a response: so many chunks of so many bytes.
    pub(crate) fn new(client: Client, chunk: usize, chunks: usize) -> Self {
        Self {
            client,
            guest: None,
            outgoing_chunk: chunk,
            outgoing_chunks: chunks,
        }
    }

    /// To be called before the guest's handles are dropped. Dropping them makes unfinished uploads look finished;
    /// after this call they are cut off instead.
    pub(crate) fn leave(&self) {
        if let Some(guest) = &self.guest {
            guest.is_gone.store(true, Ordering::SeqCst);
        }
    }
}

impl WasiHttpHooks for GuestHooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_forbidden(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden)
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
            is_forwarded: false,
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

/// The hooks while the host makes the guest's own request: every field passes, since `request` has filtered them
/// already. (`wasmtime-wasi-http` would remove `host`, and removing a field reorders the others.)
pub(crate) struct HostHooks;

impl WasiHttpHooks for HostHooks {
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

/// Fields that a guest may not send: hop-by-hop fields, and `host`, which is set from the URI. It may send
/// `te`, which says whether the guest accepts trailers.
fn is_forbidden(name: &HeaderName) -> bool {
    *name == HOST || (is_hop_by_hop(name) && *name != TE)
}

/// The body of an outgoing request. If the guest is gone before it has finished the body, the body is cut off,
/// unless it is a body that the guest has received from elsewhere and forwards.
struct Upload {
    body: WasiBody,
    guest: Arc<GuestAlive>,
    is_forwarded: bool,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        // `self.body` is opaque. That it forwards a body of the host shows only when polling it polls that body.
        let (frame, is_forwarded) =
            host_body::polls_host_body(|| Pin::new(&mut self.body).poll_frame(cx));
        self.is_forwarded |= is_forwarded;
        // The body of a guest that is gone ends normally even if it is incomplete.
        let is_left = !self.is_forwarded && self.guest.is_gone.load(Ordering::SeqCst);
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

/// The error that the guest gets.
fn error(error: outbound::Error) -> Error {
    use outbound::Error as Outbound;

    tracing::debug!("an outgoing request of a guest failed: {error}");
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
        // The fault of the guest, or of the peer whose body it forwards.
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
        // As `wasmtime serve` maps them.
        Outbound::FirstByteTimeout | Outbound::BetweenBytesTimeout => Error::ConnectionReadTimeout,
        Outbound::ResponseHeaderTooLarge => Error::HttpResponseHeaderSectionSize(None),
        Outbound::Protocol(_) => Error::HttpProtocolError,
        Outbound::ResponseIncomplete => Error::HttpResponseIncomplete,
    }
}
