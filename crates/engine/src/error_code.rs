use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p3::bindings::http::types as p3;

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
