//! The framing of a response, from its status, its `content-length` and the request's method.

use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};

use crate::Failure;

/// How the body of a response is delimited (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body, whatever the guest writes.
    None,
    /// A body of this length, in bytes.
    Length(u64),
    /// A body of unknown length.
    Open,
}

impl Framing {
    pub(super) fn length(self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(length),
            Self::None | Self::Open => None,
        }
    }
}

/// The framing of a response whose fields announce `length`. Corrects the fields where the status forbids them.
pub(super) fn frame(
    headers: &mut HeaderMap,
    length: Option<u64>,
    status: StatusCode,
    head_only: bool,
) -> Result<Framing, Failure> {
    if status.is_informational() {
        return Err(Failure::InterimStatus(status));
    }
    if status == StatusCode::NO_CONTENT {
        // RFC 9110, section 8.6: no `content-length` here.
        headers.remove(CONTENT_LENGTH);
    }
    if status == StatusCode::RESET_CONTENT {
        // RFC 9110, section 15.3.6.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        return Ok(Framing::None);
    }
    if head_only || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::None);
    }
    Ok(length.map_or(Framing::Open, Framing::Length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::outgoing::announced_length;

    fn headers(length: Option<&str>) -> HeaderMap {
        length
            .map(|length| (CONTENT_LENGTH, length.parse().unwrap()))
            .into_iter()
            .collect()
    }

    #[test]
    fn the_framing_follows_status_and_method() {
        let of = |status, length, head| {
            let mut headers = headers(length);
            let length = announced_length(&headers);
            let status = StatusCode::from_u16(status).unwrap();
            frame(&mut headers, length, status, head)
        };
        assert_eq!(of(200, Some("5"), false).unwrap(), Framing::Length(5));
        assert_eq!(of(200, None, false).unwrap(), Framing::Open);
        assert_eq!(of(200, Some("5"), true).unwrap(), Framing::None);
        assert_eq!(of(204, Some("5"), false).unwrap(), Framing::None);
        assert_eq!(of(304, Some("5"), false).unwrap(), Framing::None);
        assert!(matches!(
            of(103, None, false),
            Err(Failure::InterimStatus(_))
        ));
    }

    #[test]
    fn a_205_has_no_content() {
        let mut fields = headers(Some("5"));
        let framing = frame(&mut fields, Some(5), StatusCode::RESET_CONTENT, false).unwrap();
        assert_eq!(framing, Framing::None);
        assert_eq!(fields[CONTENT_LENGTH], "0");
    }

    #[test]
    fn a_204_has_no_content_length() {
        let mut fields = headers(Some("5"));
        frame(&mut fields, Some(5), StatusCode::NO_CONTENT, false).unwrap();
        assert!(fields.is_empty());
    }
}
