use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

use crate::coding::Coding;

/// What tells one state of a file from another: its time of modification, to the second, and its
/// size.
///
/// A file that is replaced by one of the same size within the same second keeps both validators.
/// Unit has the same limit; where it would join pieces of two files, in `If-Range`, a time that has
/// not passed yet matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validators {
    /// Seconds since 1970.
    pub(crate) modified: i64,
    pub(crate) size: u64,
    pub(crate) coding: Option<Coding>,
}

impl Validators {
    /// Unit's form: both in hexadecimal, with a hyphen between. A precompressed file has the name
    /// of its coding in addition, since it is another representation.
    pub(crate) fn entity_tag(&self) -> String {
        let Self { modified, size, .. } = self;
        // Before 1970 it is negative.
        let sign = if *modified < 0 { "-" } else { "" };
        let modified = modified.unsigned_abs();
        match self.coding {
            None => format!("\"{sign}{modified:x}-{size:x}\""),
            Some(coding) => format!("\"{sign}{modified:x}-{size:x}-{}\"", coding.name()),
        }
    }

    /// `Last-Modified`. None before 1970 and after 9999, for which HTTP has no words.
    ///
    /// A time that is still to come is given as `now` (RFC 9110, section 8.8.2.1).
    ///
    /// Unit gives the router's local time and says that it is GMT. That is not followed: with a time
    /// zone it would make every date comparison wrong.
    pub(crate) fn last_modified(&self, now: SystemTime) -> Option<HeaderValue> {
        /// The first second of the year 10000.
        const END: i64 = 253_402_300_800;
        let modified = self.modified.min(seconds(now));
        if !(0..END).contains(&modified) {
            return None;
        }
        let time = UNIX_EPOCH + Duration::from_secs(modified.cast_unsigned());
        HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()
    }

    /// Whether the second of the last modification is over, so that it cannot have another one.
    pub(crate) fn are_settled(&self, now: SystemTime) -> bool {
        self.modified < seconds(now)
    }
}

/// The date in a field, in seconds since 1970; none if it is not one (RFC 9110, section 5.6.7).
pub(crate) fn date(value: &HeaderValue) -> Option<i64> {
    let time = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    Some(seconds(time))
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn of(modified: i64) -> Validators {
        Validators {
            modified,
            size: 13,
            coding: None,
        }
    }

    #[test]
    fn the_entity_tag_is_unit_s() {
        assert_eq!(of(0x5d66_459d).entity_tag(), "\"5d66459d-d\"");
        assert_eq!(of(-0x15180).entity_tag(), "\"-15180-d\"");
        let coded = Validators {
            coding: Some(Coding::Gzip),
            ..of(16)
        };
        assert_eq!(coded.entity_tag(), "\"10-d-gzip\"");
    }

    #[test]
    fn last_modified_is_never_in_the_future_nor_out_of_words() {
        let text = |modified, now| of(modified).last_modified(at(now));
        assert_eq!(
            text(784_111_777, 900_000_000).unwrap(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            text(900_000_000, 784_111_777).unwrap(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(text(-1, 900_000_000), None);
        assert_eq!(text(i64::MAX, 253_402_300_800), None);
    }
}
