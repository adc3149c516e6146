use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, LAST_MODIFIED, LOCATION, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::body::{Body, Part};
use crate::conditions::{self, Verdict};
use crate::multipart;
use crate::range::{self, Asked};
use crate::read::Reader;
use crate::redirect;
use crate::search::{Found, FoundFile};
use crate::{NotServed, Request};

/// The response to a GET or HEAD with what its path led to.
pub(crate) fn to(request: &Request<'_>, found: Found) -> Result<Response<Body>, NotServed> {
    match found {
        Found::File(found) => file(request, found).map_err(not_a_field),
        Found::Folder => folder(request).map_err(not_a_field),
    }
}

/// A query that cannot be sent back, which no parser of requests lets through.
fn not_a_field(error: http::header::InvalidHeaderValue) -> NotServed {
    NotServed::Failed(io::Error::other(error))
}

type Result_ = Result<Response<Body>, http::header::InvalidHeaderValue>;

fn folder(request: &Request<'_>) -> Result_ {
    let location = redirect::location(request.path, request.query);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let fields = response.headers_mut();
    fields.insert(LOCATION, HeaderValue::try_from(location)?);
    fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
    Ok(response)
}

fn file(request: &Request<'_>, found: FoundFile) -> Result_ {
    let validators = &found.validators;
    let tag = HeaderValue::try_from(validators.entity_tag())?;
    let size = validators.size;
    let mut fields = HeaderMap::with_capacity(8);
    if found.varies {
        // Of every answer about the file, or a cache gives it to clients that want another.
        fields.insert(VARY, HeaderValue::from(ACCEPT_ENCODING));
    }

    match conditions::weigh(request.headers, tag.as_bytes(), validators) {
        Verdict::Send => {}
        Verdict::NotModified => {
            // No `Last-Modified` beside a tag, and no length (RFC 9110, section 15.4.5).
            fields.insert(ETAG, tag);
            return Ok(head(StatusCode::NOT_MODIFIED, fields));
        }
        Verdict::Failed => {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
            return Ok(head(StatusCode::PRECONDITION_FAILED, fields));
        }
    }

    // Ranges are for GET alone (RFC 9110, section 14.2).
    let takes_range = request.method == Method::GET
        && conditions::range_is_of_this(request.headers, tag.as_bytes(), validators, request.now);
    let asked = if takes_range {
        range::of(request.headers, size)
    } else {
        Asked::Whole
    };

    fields.insert(ETAG, tag);
    if let Some(date) = validators.last_modified(request.now) {
        fields.insert(LAST_MODIFIED, date);
    }
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(coding) = validators.coding {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }

    let (status, parts) = match asked {
        Asked::Nothing => {
            fields.insert(CONTENT_RANGE, content_range(None, size)?);
            fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
            return Ok(head(StatusCode::RANGE_NOT_SATISFIABLE, fields));
        }
        Asked::Whole => {
            if let Some(content_type) = found.content_type {
                fields.insert(CONTENT_TYPE, content_type);
            }
            (StatusCode::OK, VecDeque::from([part(0..size)]))
        }
        Asked::Parts(ranges) => {
            let parts = match &ranges[..] {
                [range] => {
                    fields.insert(CONTENT_RANGE, content_range(Some(range), size)?);
                    if let Some(content_type) = found.content_type {
                        fields.insert(CONTENT_TYPE, content_type);
                    }
                    VecDeque::from([part(range.clone())])
                }
                ranges => {
                    let boundary = multipart::boundary();
                    fields.insert(CONTENT_TYPE, multipart::content_type(&boundary)?);
                    multipart::parts(ranges, size, found.content_type.as_ref(), &boundary)
                }
            };
            (StatusCode::PARTIAL_CONTENT, parts)
        }
    };
    let mut body = Body::of(Reader::new(found.file), parts);
    let length = http_body::Body::size_hint(&body).exact().unwrap_or(0);
    fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if request.method == Method::HEAD || length == 0 {
        body = Body::empty();
    }
    let mut response = head(status, fields);
    *response.body_mut() = body;
    Ok(response)
}

fn head(status: StatusCode, fields: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

fn part(range: Range<u64>) -> Part {
    Part::File {
        at: range.start,
        length: range.end - range.start,
    }
}

/// RFC 9110, section 14.4; without a range, that of a file which has none of those that were asked.
fn content_range(
    range: Option<&Range<u64>>,
    size: u64,
) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    HeaderValue::try_from(match range {
        Some(range) => multipart::content_range(range, size),
        None => format!("bytes */{size}"),
    })
}
