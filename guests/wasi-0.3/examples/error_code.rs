//! Responds with the error code that the query names.

use guests_03::Answer;
use guests_03::wasip3::http::types::{
    DnsErrorPayload, ErrorCode, FieldSizePayload, Request, TlsAlertReceivedPayload,
};

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    Err(code(query.first().map_or("", String::as_str)))
}

fn code(name: &str) -> ErrorCode {
    let field = || FieldSizePayload {
        field_name: None,
        field_size: None,
    };
    match name {
        "dns-timeout" => ErrorCode::DnsTimeout,
        "destination-not-found" => ErrorCode::DestinationNotFound,
        "destination-unavailable" => ErrorCode::DestinationUnavailable,
        "destination-ip-prohibited" => ErrorCode::DestinationIpProhibited,
        "destination-ip-unroutable" => ErrorCode::DestinationIpUnroutable,
        "connection-refused" => ErrorCode::ConnectionRefused,
        "connection-terminated" => ErrorCode::ConnectionTerminated,
        "connection-timeout" => ErrorCode::ConnectionTimeout,
        "connection-read-timeout" => ErrorCode::ConnectionReadTimeout,
        "connection-write-timeout" => ErrorCode::ConnectionWriteTimeout,
        "connection-limit-reached" => ErrorCode::ConnectionLimitReached,
        "tls-protocol-error" => ErrorCode::TlsProtocolError,
        "tls-certificate-error" => ErrorCode::TlsCertificateError,
        "http-request-denied" => ErrorCode::HttpRequestDenied,
        "http-request-length-required" => ErrorCode::HttpRequestLengthRequired,
        "http-request-method-invalid" => ErrorCode::HttpRequestMethodInvalid,
        "http-request-uri-invalid" => ErrorCode::HttpRequestUriInvalid,
        "http-request-uri-too-long" => ErrorCode::HttpRequestUriTooLong,
        "http-response-incomplete" => ErrorCode::HttpResponseIncomplete,
        "http-response-timeout" => ErrorCode::HttpResponseTimeout,
        "http-upgrade-failed" => ErrorCode::HttpUpgradeFailed,
        "http-protocol-error" => ErrorCode::HttpProtocolError,
        "loop-detected" => ErrorCode::LoopDetected,
        "configuration-error" => ErrorCode::ConfigurationError,
        "dns-error" => ErrorCode::DnsError(DnsErrorPayload {
            rcode: None,
            info_code: None,
        }),
        "tls-alert-received" => ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload {
            alert_id: None,
            alert_message: None,
        }),
        "http-request-body-size" => ErrorCode::HttpRequestBodySize(None),
        "http-request-header-section-size" => ErrorCode::HttpRequestHeaderSectionSize(None),
        "http-request-header-size" => ErrorCode::HttpRequestHeaderSize(None),
        "http-request-trailer-section-size" => ErrorCode::HttpRequestTrailerSectionSize(None),
        "http-request-trailer-size" => ErrorCode::HttpRequestTrailerSize(field()),
        "http-response-header-section-size" => ErrorCode::HttpResponseHeaderSectionSize(None),
        "http-response-header-size" => ErrorCode::HttpResponseHeaderSize(field()),
        "http-response-body-size" => ErrorCode::HttpResponseBodySize(None),
        "http-response-trailer-section-size" => ErrorCode::HttpResponseTrailerSectionSize(None),
        "http-response-trailer-size" => ErrorCode::HttpResponseTrailerSize(field()),
        "http-response-transfer-coding" => ErrorCode::HttpResponseTransferCoding(None),
        "http-response-content-coding" => ErrorCode::HttpResponseContentCoding(None),
        "long" => ErrorCode::InternalError(Some("x".repeat(100_000))),
        "internal-error" => ErrorCode::InternalError(Some("a secret of the guest".to_owned())),
        _ => panic!("no such code: {name}"),
    }
}

guests_03::guest!(handle);
