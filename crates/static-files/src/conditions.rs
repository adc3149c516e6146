//! Conditional requests (RFC 9110, section 13): `If-Match`, `If-None-Match`, `If-Modified-Since`,
//! `If-Unmodified-Since` and `If-Range`.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};

use crate::etag_list;
use crate::validators::{self, EntityTag, Validators};

/// The result of a request's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send the file.
    Send,
    /// 304: the client's copy is current.
    NotModified,
    /// 412: the client expected another state of the file.
    Failed,
}

/// Evaluates the conditions of a GET or HEAD in the order of RFC 9110, section 13.2.2.
///
/// An invalid or repeated date is ignored. An invalid list of ETags matches nothing. A file that may change
/// without a new modification time never matches the client's copy.
pub(crate) fn evaluate(
    headers: &HeaderMap,
    tag: &EntityTag,
    validators: &Validators,
    now: SystemTime,
) -> Verdict {
    let modified = validators.modified.seconds;
    if headers.contains_key(IF_MATCH) {
        if !etag_list::any_matches(headers, &IF_MATCH, tag.comparable(), false) {
            return Verdict::Failed;
        }
    } else if let Some(date) = date(headers, &IF_UNMODIFIED_SINCE)
        && modified > date
    {
        return Verdict::Failed;
    }

    if headers.contains_key(IF_NONE_MATCH) {
        if etag_list::any_matches(headers, &IF_NONE_MATCH, tag.comparable(), true) {
            return Verdict::NotModified;
        }
    } else if let Some(date) = date(headers, &IF_MODIFIED_SINCE)
        && modified <= date
        && validators.are_settled(now)
    {
        return Verdict::NotModified;
    }
    Verdict::Send
}

/// Whether a range may be sent: without `If-Range`, or if that matches the file (RFC 9110, section 13.1.5).
/// ETags are compared strongly, dates have to be equal.
pub(crate) fn if_range_matches(
    headers: &HeaderMap,
    tag: &EntityTag,
    validators: &Validators,
    now: SystemTime,
) -> bool {
    let mut values = headers.get_all(IF_RANGE).iter();
    let Some(value) = values.next() else {
        return true;
    };
    if values.next().is_some() || !validators.are_settled(now) {
        return false;
    }
    let text = value.as_bytes().trim_ascii();
    Some(text) == tag.comparable() || validators::date(value) == Some(validators.modified.seconds)
}

fn date(headers: &HeaderMap, field: &HeaderName) -> Option<i64> {
    let mut values = headers.get_all(field).iter();
    let value = values.next()?;
    match values.next() {
        None => validators::date(value),
        Some(_) => None,
    }
}
