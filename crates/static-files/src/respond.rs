//! From a file that was found to a response: conditions, then ranges.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    InvalidHeaderValue, LAST_MODIFIED, LOCATION, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::body::{Body, Part};
use crate::conditions::{self, Verdict};
use crate::multipart;
use crate::open_files::CountedFile;
use crate::range::{self, Asked};
use crate::read::Reader;
use crate::redirect;
use crate::search::{Found, FoundFile};
use crate::{NotServed, Request};

/// The response to a GET or HEAD for a file or folder that was found.
pub(crate) fn to(request: &Request<'_>, found: Found) -> Result<Response<Body>, NotServed> {
    let response = match found {
        Found::File(found) => file(request, found),
        Found::Folder => folder(request),
    };
    // An error only for a query that is not valid in a header field, which parsers of requests refuse.
    response.map_err(|error| NotServed::Failed(io::Error::other(error)))
}

fn folder(request: &Request<'_>) -> Result<Response<Body>, InvalidHeaderValue> {
    let location = redirect::location(request.path, request.query);
    let mut fields = HeaderMap::new();
    fields.insert(LOCATION, HeaderValue::try_from(location)?);
    Ok(without_content(StatusCode::MOVED_PERMANENTLY, fields))
}

fn file(request: &Request<'_>, found: FoundFile) -> Result<Response<Body>, InvalidHeaderValue> {
    let validators = &found.validators;
    let entity_tag = validators.entity_tag(request.now);
    let tag = HeaderValue::try_from(entity_tag.as_str())?;
    let mut fields = HeaderMap::with_capacity(8);
    if found.varies {
        // In every response about the file, so that caches do not serve it to clients that accept another coding.
        fields.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    match conditions::evaluate(request.headers, &entity_tag, validators, request.now) {
        Verdict::Send => {}
        Verdict::NotModified => {
            // A 304 has no length, and no `Last-Modified` if it has an ETag (RFC 9110, section 15.4.5).
            fields.insert(ETAG, tag);
            return Ok(response(StatusCode::NOT_MODIFIED, fields, Body::empty()));
        }
        Verdict::Failed => return Ok(without_content(StatusCode::PRECONDITION_FAILED, fields)),
    }

    // Ranges are for GET alone (RFC 9110, section 14.2).
    let takes_range = request.method == Method::GET
        && conditions::if_range_matches(request.headers, &entity_tag, validators, request.now);
    let asked = if takes_range {
        range::of(request.headers, validators.size)
    } else {
        Asked::Whole
    };
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let ranges = match asked {
        Asked::Whole => None,
        Asked::Parts(ranges) => Some(ranges),
        Asked::Nothing => {
            // RFC 9110, section 14.4. No content of the file is sent, so the fields about it are left out.
            let size = format!("bytes */{}", validators.size);
            fields.insert(CONTENT_RANGE, HeaderValue::try_from(size)?);
            return Ok(without_content(StatusCode::RANGE_NOT_SATISFIABLE, fields));
        }
    };

    fields.insert(ETAG, tag);
    if let Some(date) = validators.last_modified(request.now) {
        fields.insert(LAST_MODIFIED, date);
    }
    if let Some(coding) = validators.coding {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    content(request, found, ranges.as_deref(), fields)
}

/// The file, or ranges of it.
fn content(
    request: &Request<'_>,
    found: FoundFile,
    ranges: Option<&[Range<u64>]>,
    mut fields: HeaderMap,
) -> Result<Response<Body>, InvalidHeaderValue> {
    let size = found.validators.size;
    let (status, parts) = match ranges {
        None => (StatusCode::OK, VecDeque::from([part(&(0..size))])),
        Some([range]) => {
            let field = multipart::content_range(range, size);
            fields.insert(CONTENT_RANGE, HeaderValue::try_from(field)?);
            (StatusCode::PARTIAL_CONTENT, VecDeque::from([part(range)]))
        }
        Some(ranges) => {
            let boundary = multipart::boundary();
            fields.insert(CONTENT_TYPE, multipart::content_type(&boundary)?);
            let parts = multipart::parts(ranges, size, found.content_type.as_ref(), &boundary);
            (StatusCode::PARTIAL_CONTENT, parts)
        }
    };
    if let Some(content_type) = found.content_type {
        // Before each part of several.
        fields.entry(CONTENT_TYPE).or_insert(content_type);
    }
    let length = parts.iter().map(Part::length).sum::<u64>();
    fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let body = if request.method == Method::HEAD || length == 0 {
        Body::empty()
    } else {
        let file = CountedFile {
            file: found.file,
            permit: None,
        };
        Body::of(Reader::new(file), parts)
    };
    Ok(response(status, fields, body))
}

fn without_content(status: StatusCode, mut fields: HeaderMap) -> Response<Body> {
    fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
    response(status, fields, Body::empty())
}

fn response(status: StatusCode, fields: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

fn part(range: &Range<u64>) -> Part {
    Part::File {
        at: range.start,
        length: range.end - range.start,
    }
}
