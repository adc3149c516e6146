//! Trailers of responses over HTTP/1, most of which do not reach the client: which can be sent, and a log of
//! those that cannot. Sending them is the front end's part.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, Ordering};

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, TRAILER};

use crate::RequestId;

/// Which trailers a response over HTTP/1 can have (RFC 9110, section 6.5.1; RFC 9112, section 7.1.2):
/// those that its `trailer` field names, if it is chunked and its client accepts trailers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http1Trailers {
    refused: Option<LostTrailers>,
    /// Empty where all are refused.
    announced: HashSet<HeaderName>,
}

/// Why a client does not get trailers. The values are bits of [`LostTrailersLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LostTrailers {
    NotAccepted = 1,
    HasLength = 2,
    NotAnnounced = 4,
}

impl Http1Trailers {
    /// The rules for a response with these fields. `accepts` says that the client speaks HTTP/1.1 and has sent
    /// `te: trailers`.
    #[must_use]
    pub fn new(accepts: bool, response: &HeaderMap) -> Self {
        let refused = if !accepts {
            Some(LostTrailers::NotAccepted)
        } else if response.contains_key(CONTENT_LENGTH) {
            Some(LostTrailers::HasLength)
        } else {
            None
        };
        let announced = if refused.is_some() {
            HashSet::new()
        } else {
            let values = response.get_all(TRAILER).into_iter();
            let names = values
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','));
            names.filter_map(|name| name.trim().parse().ok()).collect()
        };
        Self { refused, announced }
    }

    fn why_lost(&self, trailers: &HeaderMap) -> Option<LostTrailers> {
        self.refused.or_else(|| {
            let is_announced = |name| self.announced.contains(name);
            (!trailers.keys().all(is_announced)).then_some(LostTrailers::NotAnnounced)
        })
    }
}

/// The reasons that have been logged for an application. Each is logged once, since it concerns every response of a
/// guest.
#[derive(Default)]
pub(crate) struct LostTrailersLog(AtomicU8);

impl LostTrailersLog {
    /// Checks the trailers of a response.
    pub(crate) fn check(
        &self,
        application: &str,
        request: RequestId,
        rules: &Http1Trailers,
        trailers: &HeaderMap,
    ) {
        let reason = rules.refused.unwrap_or(LostTrailers::NotAnnounced) as u8;
        if self.0.load(Ordering::Relaxed) & reason != 0 {
            return;
        }
        let Some(why) = rules.why_lost(trailers) else {
            return;
        };
        if self.0.fetch_or(why as u8, Ordering::Relaxed) & why as u8 != 0 {
            return;
        }
        match why {
            // `info`: most clients do not accept trailers, which is not the guest's fault.
            LostTrailers::NotAccepted => tracing::info!(
                application,
                %request,
                "the trailers of a response are not sent: over HTTP/1.1 a client has to accept them with \
                 \"te: trailers\"; this is logged once"
            ),
            LostTrailers::HasLength => tracing::warn!(
                application,
                %request,
                "the trailers of a response are not sent: over HTTP/1.1 a response with \
                 \"content-length\" cannot have any; this is logged once"
            ),
            LostTrailers::NotAnnounced => tracing::warn!(
                application,
                %request,
                "some trailers of a response are not sent: over HTTP/1.1 its field \"trailer\" has to name \
                 them; this is logged once"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter();
        fields
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn the_largest_number_of_trailers_is_checked_quickly() {
        let names: Vec<_> = (0..24_000).map(|number| format!("x-{number}")).collect();
        let announced = [(TRAILER, names.join(", ").parse().unwrap())];
        let announced = announced.into_iter().collect();
        let trailers = names.iter().map(|name| {
            let name: HeaderName = name.parse().unwrap();
            (name, http::HeaderValue::from_static(""))
        });
        let trailers: HeaderMap = trailers.collect();
        let begun = std::time::Instant::now();
        assert_eq!(
            Http1Trailers::new(true, &announced).why_lost(&trailers),
            None
        );
        // To compare each of them with each takes a hundred times as long as this.
        assert!(begun.elapsed() < std::time::Duration::from_secs(3));
    }

    #[test]
    fn trailers_need_a_client_that_accepts_them_and_a_field_that_names_them() {
        let trailers = fields(&[("x-a", "1"), ("x-b", "2")]);
        let named = fields(&[("trailer", "X-A, x-b")]);
        let lost = |accepts, response: &HeaderMap| {
            Http1Trailers::new(accepts, response).why_lost(&trailers)
        };
        assert_eq!(lost(true, &named), None);
        assert_eq!(lost(false, &named), Some(LostTrailers::NotAccepted));
        for names in ["", "x-a", "x-c, x-a"] {
            let response = fields(&[("trailer", names)]);
            assert_eq!(lost(true, &response), Some(LostTrailers::NotAnnounced));
        }
        let whole = fields(&[("trailer", "x-a, x-b"), ("content-length", "3")]);
        assert_eq!(lost(true, &whole), Some(LostTrailers::HasLength));
    }
}
