//! Error codes of `wasi:http` in its versions.

use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p3::bindings::http::types as p3;

/// Bytes that are kept of a text in an error code. The log takes less.
const MAX_TEXT: usize = 4096;

/// Cuts the texts of an error code that a guest has made: to format one of megabytes, for the log, takes
/// longer than the request.
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

/// The error code of WASI 0.2 that a body's error is, as `wasmtime-wasi-http` has it elsewhere.
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
        // Bodies here come from our own server and client, which tell hyper's errors apart themselves.
        Error::Hyper(_) | Error::Connect(_) | Error::Tls(_) => Code::HttpProtocolError,
        _ => Code::InternalError(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_error_code_is_cut_at_a_character() {
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
