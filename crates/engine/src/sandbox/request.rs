//! A request as its guest gets it: without hop-by-hop fields, with errors of the body as `wasi:http` has them.

use std::convert::Infallible;

use bytes::Bytes;
use http::Request;
use http::header::{HeaderMap, TE};
use http_body::Body;
use http_body_util::BodyExt;
use http_message::{HopByHop, retain};
use wasmtime_wasi_http::Error;

use crate::sandbox::host_body::HostBody;

/// Why a request's body ended early. Guests get the `wasi:http` error code named at each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyError {
    /// The client hung up, or its connection broke: `connection-terminated`.
    #[error("the connection ended before the body did")]
    Disconnected,
    /// The client sent nothing for too long (a stalled upload): `connection-read-timeout`.
    #[error("the client sent nothing for too long")]
    Timeout,
    /// The body's framing is broken: `HTTP-protocol-error`.
    #[error("the body is malformed")]
    Malformed,
    /// The body is larger than allowed, or than was announced: `HTTP-request-body-size`.
    #[error("the body is too large")]
    TooLarge,
}

impl From<hyper::Error> for RequestBodyError {
    /// The errors of hyper's own bodies, in its HTTP/1 and HTTP/2 servers.
    fn from(error: hyper::Error) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else if error.is_parse() || http_message::malformed(&error).is_some() {
            Self::Malformed
        } else {
            Self::Disconnected
        }
    }
}

impl From<Infallible> for RequestBodyError {
    /// For bodies that cannot fail, as those in memory.
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<RequestBodyError> for Error {
    fn from(error: RequestBodyError) -> Self {
        match error {
            RequestBodyError::Disconnected => Self::ConnectionTerminated,
            RequestBodyError::Timeout => Self::ConnectionReadTimeout,
            RequestBodyError::Malformed => Self::HttpProtocolError,
            RequestBodyError::TooLarge => Self::HttpRequestBodySize(None),
        }
    }
}

/// The request for the guest: without hop-by-hop fields, and with a [`HostBody`].
pub(crate) fn for_guest<B>(
    request: Request<B>,
) -> Request<impl Body<Data = Bytes, Error = Error> + Send + Unpin>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<RequestBodyError>,
{
    let (mut parts, body) = request.into_parts();
    parts.headers = without_hop_by_hop(parts.headers);
    let body = HostBody::new(body.map_err(|error| Error::from(error.into())));
    Request::from_parts(parts, body)
}

/// Keeps `te`, which is hop-by-hop, too: the guest responds over this hop, and learns from it whether the
/// client accepts trailers.
fn without_hop_by_hop(fields: HeaderMap) -> HeaderMap {
    let hop_by_hop = HopByHop::of(&fields);
    retain(fields, |name| *name == TE || !hop_by_hop.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn hop_by_hop_fields_do_not_reach_the_guest_and_the_others_keep_their_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("b", "1"),
            ("connection", "close, te, X-Hop"),
            ("host", "x"),
            ("te", "trailers"),
            ("a", "2"),
            ("x-hop", "5"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("connection", "keep-alive"),
            ("c", "3"),
            ("a", "4"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let kept = without_hop_by_hop(headers);
        let kept: Vec<_> = kept
            .iter()
            .map(|(n, v)| (n.as_str(), v.to_str().unwrap()))
            .collect();
        assert_eq!(
            kept,
            [
                ("b", "1"),
                ("host", "x"),
                ("te", "trailers"),
                ("a", "2"),
                ("a", "4"),
                ("c", "3")
            ]
        );
    }
}
