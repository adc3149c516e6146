//! Error codes of `wasi:http`: between its versions, and as statuses. Which errors a guest gets is decided where
//! they arise.

use http::StatusCode;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p3::bindings::http::types as p3;

/// Bytes that are kept of a text in an error code. The log takes less.
const MAX_TEXT: usize = 4096;

/// Truncates the text in an error code that a guest has made. It may have megabytes, and formatting that for
/// the log would block the thread for longer than the request takes.
pub(crate) fn shorten(code: &mut p2::ErrorCode) {
    use p2::ErrorCode as Code;

    let text = match code {
        Code::DnsError(it) => &mut it.rcode,
        Code::TlsAlertReceived(it) => &mut it.alert_message,
        Code::HttpRequestHeaderSize(Some(it))
        | Code::HttpRequestTrailerSize(it)
        | Code::HttpResponseHeaderSize(it)
        | Code::HttpResponseTrailerSize(it) => &mut it.field_name,
        Code::HttpResponseTransferCoding(text)
        | Code::HttpResponseContentCoding(text)
        | Code::InternalError(text) => text,
        Code::HttpRequestHeaderSize(None)
        | Code::DnsTimeout
        | Code::DestinationNotFound
        | Code::DestinationUnavailable
        | Code::DestinationIpProhibited
        | Code::DestinationIpUnroutable
        | Code::ConnectionRefused
        | Code::ConnectionTerminated
        | Code::ConnectionTimeout
        | Code::ConnectionReadTimeout
        | Code::ConnectionWriteTimeout
        | Code::ConnectionLimitReached
        | Code::TlsProtocolError
        | Code::TlsCertificateError
        | Code::HttpRequestDenied
        | Code::HttpRequestLengthRequired
        | Code::HttpRequestBodySize(_)
        | Code::HttpRequestMethodInvalid
        | Code::HttpRequestUriInvalid
        | Code::HttpRequestUriTooLong
        | Code::HttpRequestHeaderSectionSize(_)
        | Code::HttpRequestTrailerSectionSize(_)
        | Code::HttpResponseIncomplete
        | Code::HttpResponseHeaderSectionSize(_)
        | Code::HttpResponseBodySize(_)
        | Code::HttpResponseTrailerSectionSize(_)
        | Code::HttpResponseTimeout
        | Code::HttpUpgradeFailed
        | Code::HttpProtocolError
        | Code::LoopDetected
        | Code::ConfigurationError => return,
    };
    if let Some(text) = text
        && text.len() > MAX_TEXT
    {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.shrink_to_fit();
    }
}

/// The error code of WASI 0.2 that means the same.
pub(crate) fn of_03(code: p3::ErrorCode) -> p2::ErrorCode {
    use p2::ErrorCode as Code;
    use p3::ErrorCode;

    let field = |field: p3::FieldSizePayload| p2::FieldSizePayload {
        field_name: field.field_name,
        field_size: field.field_size,
    };
    match code {
        ErrorCode::DnsTimeout => Code::DnsTimeout,
        ErrorCode::DnsError(dns) => Code::DnsError(p2::DnsErrorPayload {
            rcode: dns.rcode,
            info_code: dns.info_code,
        }),
        ErrorCode::DestinationNotFound => Code::DestinationNotFound,
        ErrorCode::DestinationUnavailable => Code::DestinationUnavailable,
        ErrorCode::DestinationIpProhibited => Code::DestinationIpProhibited,
        ErrorCode::DestinationIpUnroutable => Code::DestinationIpUnroutable,
        ErrorCode::ConnectionRefused => Code::ConnectionRefused,
        ErrorCode::ConnectionTerminated => Code::ConnectionTerminated,
        ErrorCode::ConnectionTimeout => Code::ConnectionTimeout,
        ErrorCode::ConnectionReadTimeout => Code::ConnectionReadTimeout,
        ErrorCode::ConnectionWriteTimeout => Code::ConnectionWriteTimeout,
        ErrorCode::ConnectionLimitReached => Code::ConnectionLimitReached,
        ErrorCode::TlsProtocolError => Code::TlsProtocolError,
        ErrorCode::TlsCertificateError => Code::TlsCertificateError,
        ErrorCode::TlsAlertReceived(alert) => Code::TlsAlertReceived(p2::TlsAlertReceivedPayload {
            alert_id: alert.alert_id,
            alert_message: alert.alert_message,
        }),
        ErrorCode::HttpRequestDenied => Code::HttpRequestDenied,
        ErrorCode::HttpRequestLengthRequired => Code::HttpRequestLengthRequired,
        ErrorCode::HttpRequestBodySize(size) => Code::HttpRequestBodySize(size),
        ErrorCode::HttpRequestMethodInvalid => Code::HttpRequestMethodInvalid,
        ErrorCode::HttpRequestUriInvalid => Code::HttpRequestUriInvalid,
        ErrorCode::HttpRequestUriTooLong => Code::HttpRequestUriTooLong,
        ErrorCode::HttpRequestHeaderSectionSize(size) => Code::HttpRequestHeaderSectionSize(size),
        ErrorCode::HttpRequestHeaderSize(it) => Code::HttpRequestHeaderSize(it.map(field)),
        ErrorCode::HttpRequestTrailerSectionSize(size) => Code::HttpRequestTrailerSectionSize(size),
        ErrorCode::HttpRequestTrailerSize(it) => Code::HttpRequestTrailerSize(field(it)),
        ErrorCode::HttpResponseIncomplete => Code::HttpResponseIncomplete,
        ErrorCode::HttpResponseHeaderSectionSize(size) => Code::HttpResponseHeaderSectionSize(size),
        ErrorCode::HttpResponseHeaderSize(it) => Code::HttpResponseHeaderSize(field(it)),
        ErrorCode::HttpResponseBodySize(size) => Code::HttpResponseBodySize(size),
        ErrorCode::HttpResponseTrailerSectionSize(size) => {
            Code::HttpResponseTrailerSectionSize(size)
        }
        ErrorCode::HttpResponseTrailerSize(it) => Code::HttpResponseTrailerSize(field(it)),
        ErrorCode::HttpResponseTransferCoding(coding) => Code::HttpResponseTransferCoding(coding),
        ErrorCode::HttpResponseContentCoding(coding) => Code::HttpResponseContentCoding(coding),
        ErrorCode::HttpResponseTimeout => Code::HttpResponseTimeout,
        ErrorCode::HttpUpgradeFailed => Code::HttpUpgradeFailed,
        ErrorCode::HttpProtocolError => Code::HttpProtocolError,
        ErrorCode::LoopDetected => Code::LoopDetected,
        ErrorCode::ConfigurationError => Code::ConfigurationError,
        ErrorCode::InternalError(message) => Code::InternalError(message),
    }
}

/// The error code of WASI 0.2 for an error of a body, as `wasmtime-wasi-http` maps errors elsewhere.
pub(crate) fn of_body(error: Error) -> p2::ErrorCode {
    use p2::ErrorCode as Code;

    let field = |field_name, field_size| p2::FieldSizePayload {
        field_name,
        field_size,
    };
    match error {
        Error::DnsTimeout => Code::DnsTimeout,
        Error::DnsError { rcode, info_code } => {
            Code::DnsError(p2::DnsErrorPayload { rcode, info_code })
        }
        Error::DestinationNotFound => Code::DestinationNotFound,
        Error::DestinationUnavailable => Code::DestinationUnavailable,
        Error::DestinationIpProhibited => Code::DestinationIpProhibited,
        Error::DestinationIpUnroutable => Code::DestinationIpUnroutable,
        Error::ConnectionRefused => Code::ConnectionRefused,
        Error::ConnectionTerminated => Code::ConnectionTerminated,
        Error::ConnectionTimeout => Code::ConnectionTimeout,
        Error::ConnectionReadTimeout => Code::ConnectionReadTimeout,
        Error::ConnectionWriteTimeout => Code::ConnectionWriteTimeout,
        Error::ConnectionLimitReached => Code::ConnectionLimitReached,
        Error::TlsProtocolError => Code::TlsProtocolError,
        Error::TlsCertificateError => Code::TlsCertificateError,
        Error::TlsAlertReceived {
            alert_id,
            alert_message,
        } => Code::TlsAlertReceived(p2::TlsAlertReceivedPayload {
            alert_id,
            alert_message,
        }),
        Error::HttpRequestDenied => Code::HttpRequestDenied,
        Error::HttpRequestLengthRequired => Code::HttpRequestLengthRequired,
        Error::HttpRequestBodySize(size) => Code::HttpRequestBodySize(size),
        Error::HttpRequestMethodInvalid => Code::HttpRequestMethodInvalid,
        Error::HttpRequestUriInvalid => Code::HttpRequestUriInvalid,
        Error::HttpRequestUriTooLong => Code::HttpRequestUriTooLong,
        Error::HttpRequestHeaderSectionSize(size) => Code::HttpRequestHeaderSectionSize(size),
        Error::HttpRequestHeaderSize {
            field_name,
            field_size,
        } => Code::HttpRequestHeaderSize(Some(field(field_name, field_size))),
        Error::HttpRequestTrailerSectionSize(size) => Code::HttpRequestTrailerSectionSize(size),
        Error::HttpRequestTrailerSize {
            field_name,
            field_size,
        } => Code::HttpRequestTrailerSize(field(field_name, field_size)),
        Error::HttpResponseIncomplete => Code::HttpResponseIncomplete,
        Error::HttpResponseHeaderSectionSize(size) => Code::HttpResponseHeaderSectionSize(size),
        Error::HttpResponseHeaderSize {
            field_name,
            field_size,
        } => Code::HttpResponseHeaderSize(field(field_name, field_size)),
        Error::HttpResponseBodySize(size) => Code::HttpResponseBodySize(size),
        Error::HttpResponseTrailerSectionSize(size) => Code::HttpResponseTrailerSectionSize(size),
        Error::HttpResponseTrailerSize {
            field_name,
            field_size,
        } => Code::HttpResponseTrailerSize(field(field_name, field_size)),
        Error::HttpResponseTransferCoding(coding) => Code::HttpResponseTransferCoding(coding),
        Error::HttpResponseContentCoding(coding) => Code::HttpResponseContentCoding(coding),
        Error::HttpResponseTimeout => Code::HttpResponseTimeout,
        Error::HttpUpgradeFailed => Code::HttpUpgradeFailed,
        Error::HttpProtocolError => Code::HttpProtocolError,
        Error::LoopDetected => Code::LoopDetected,
        Error::ConfigurationError => Code::ConfigurationError,
        Error::InternalError(message) => Code::InternalError(message),
        // Unreachable in practice: the bodies are those of our own server and client, which map hyper's errors.
        Error::Hyper(_) | Error::Connect(_) | Error::Tls(_) => Code::HttpProtocolError,
        _ => Code::InternalError(None),
    }
}

/// 502 where another server or the network is at fault, 500 where the guest is.
pub(super) fn status_of(code: &p2::ErrorCode) -> StatusCode {
    match code {
        p2::ErrorCode::DnsTimeout
        | p2::ErrorCode::DnsError(_)
        | p2::ErrorCode::DestinationNotFound
        | p2::ErrorCode::DestinationUnavailable
        | p2::ErrorCode::DestinationIpProhibited
        | p2::ErrorCode::DestinationIpUnroutable
        | p2::ErrorCode::ConnectionRefused
        | p2::ErrorCode::ConnectionTerminated
        | p2::ErrorCode::ConnectionTimeout
        | p2::ErrorCode::ConnectionReadTimeout
        | p2::ErrorCode::ConnectionWriteTimeout
        | p2::ErrorCode::ConnectionLimitReached
        | p2::ErrorCode::TlsProtocolError
        | p2::ErrorCode::TlsCertificateError
        | p2::ErrorCode::TlsAlertReceived(_)
        | p2::ErrorCode::HttpResponseIncomplete
        | p2::ErrorCode::HttpResponseHeaderSectionSize(_)
        | p2::ErrorCode::HttpResponseHeaderSize(_)
        | p2::ErrorCode::HttpResponseBodySize(_)
        | p2::ErrorCode::HttpResponseTrailerSectionSize(_)
        | p2::ErrorCode::HttpResponseTrailerSize(_)
        | p2::ErrorCode::HttpResponseTransferCoding(_)
        | p2::ErrorCode::HttpResponseContentCoding(_)
        | p2::ErrorCode::HttpResponseTimeout
        | p2::ErrorCode::HttpUpgradeFailed
        | p2::ErrorCode::HttpProtocolError => StatusCode::BAD_GATEWAY,
        p2::ErrorCode::HttpRequestDenied
        | p2::ErrorCode::HttpRequestLengthRequired
        | p2::ErrorCode::HttpRequestBodySize(_)
        | p2::ErrorCode::HttpRequestMethodInvalid
        | p2::ErrorCode::HttpRequestUriInvalid
        | p2::ErrorCode::HttpRequestUriTooLong
        | p2::ErrorCode::HttpRequestHeaderSectionSize(_)
        | p2::ErrorCode::HttpRequestHeaderSize(_)
        | p2::ErrorCode::HttpRequestTrailerSectionSize(_)
        | p2::ErrorCode::HttpRequestTrailerSize(_)
        | p2::ErrorCode::LoopDetected
        | p2::ErrorCode::ConfigurationError
        | p2::ErrorCode::InternalError(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_error_code_is_truncated_at_a_character() {
        let text = |length| Some("é".repeat(length));
        let mut code = p2::ErrorCode::InternalError(text(1 << 20));
        shorten(&mut code);
        assert!(matches!(&code, p2::ErrorCode::InternalError(it) if *it == text(MAX_TEXT / 2)));
        let field_name = text(MAX_TEXT);
        let mut code = p2::ErrorCode::HttpRequestHeaderSize(Some(p2::FieldSizePayload {
            field_name,
            field_size: None,
        }));
        shorten(&mut code);
        let p2::ErrorCode::HttpRequestHeaderSize(Some(field)) = code else {
            unreachable!()
        };
        assert_eq!(field.field_name, text(MAX_TEXT / 2));
    }
}
