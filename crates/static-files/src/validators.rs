//! The validators of a file: its ETag and `Last-Modified`.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use rustix::fs::Stat;

use crate::coding::Coding;

/// How long after its modification time a file may be written again without a new modification time.
///
/// Linux takes that time from a clock that ticks every few milliseconds; file systems without fractions round down
/// to one second, or to two (FAT).
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// The modification time and the size of a file, which identify its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validators {
    pub(crate) modified: Modified,
    pub(crate) size: u64,
    pub(crate) coding: Option<Coding>,
}

/// A modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Modified {
    /// Since 1970; negative before.
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl Modified {
    pub(crate) fn of(status: &Stat) -> Self {
        Self {
            seconds: status.st_mtime,
            nanoseconds: u32::try_from(status.st_mtime_nsec).unwrap_or(0),
        }
    }

    /// Whether a file with this time is not older than one with the time `other`. Some tools give their output the
    /// time of their input without its fraction, so that is ignored if this time has none.
    pub(crate) fn is_up_to_date_with(&self, other: &Self) -> bool {
        self >= other || (self.seconds == other.seconds && self.nanoseconds == 0)
    }
}

/// An entity tag (RFC 9110, section 8.8.3).
pub(crate) struct EntityTag {
    text: String,
    is_weak: bool,
}

impl EntityTag {
    /// As in a header field.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The text for comparisons; `None` for a weak ETag, since the file may have changed since.
    pub(crate) fn comparable(&self) -> Option<&[u8]> {
        (!self.is_weak).then_some(self.text.as_bytes())
    }
}

impl Validators {
    /// The ETag: time and size in hexadecimal, separated by a hyphen, as in Unit; nanoseconds, if there are any, follow
    /// the time after a point. The inode is not included: copies of a file on several servers behind one load
    /// balancer have the same time, but not the same inode.
    ///
    /// A precompressed file has the name of its coding in addition, since it is another representation.
    ///
    /// While the file may be written again without a new time, the ETag is weak, and differs from the later strong
    /// one, since a weak comparison would match both.
    pub(crate) fn entity_tag(&self, now: SystemTime) -> EntityTag {
        let Modified {
            seconds,
            nanoseconds,
        } = self.modified;
        // Before 1970 it is negative.
        let sign = if seconds < 0 { "-" } else { "" };
        let seconds = seconds.unsigned_abs();
        let is_weak = !self.are_settled(now);
        let (begin, end) = if is_weak {
            ("W/\"", "-new\"")
        } else {
            ("\"", "\"")
        };
        let mut text = String::with_capacity(64);
        // No write into a string fails.
        _ = write!(text, "{begin}{sign}{seconds:x}");
        if nanoseconds > 0 {
            _ = write!(text, ".{nanoseconds:x}");
        }
        _ = write!(text, "-{:x}", self.size);
        if let Some(coding) = self.coding {
            _ = write!(text, "-{}", coding.name());
        }
        text.push_str(end);
        EntityTag { text, is_weak }
    }

    /// `Last-Modified`. `None` before 1970 and after 9999, which HTTP's dates cannot express.
    ///
    /// A time in the future becomes `now` (RFC 9110, section 8.8.2.1). While the file may be written again within the
    /// same second, the second before is used, so that `If-Modified-Since` detects that write.
    ///
    /// Unit sends the router's local time as GMT, which makes date comparisons wrong in most time zones. Not
    /// followed.
    pub(crate) fn last_modified(&self, now: SystemTime) -> Option<HeaderValue> {
        /// The first second of the year 10000.
        const END: i64 = 253_402_300_800;
        let modified = if self.are_settled(now) {
            self.modified.seconds
        } else {
            self.modified.seconds.min(seconds(now)).saturating_sub(1)
        };
        if !(0..END).contains(&modified) {
            return None;
        }
        let time = UNIX_EPOCH + Duration::from_secs(modified.cast_unsigned());
        HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()
    }

    /// Whether any later change of the file gives it another time.
    pub(crate) fn are_settled(&self, now: SystemTime) -> bool {
        let Modified {
            seconds,
            nanoseconds,
        } = self.modified;
        let Ok(seconds) = u64::try_from(seconds) else {
            return true;
        };
        let until = Duration::new(seconds, nanoseconds).checked_add(SETTLED_AFTER);
        let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        until.is_some_and(|until| until <= since_1970)
    }
}

/// A date in seconds since 1970; `None` if it is not valid (RFC 9110, section 5.6.7).
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

    fn of(seconds: i64, nanoseconds: u32) -> Validators {
        Validators {
            modified: Modified {
                seconds,
                nanoseconds,
            },
            size: 13,
            coding: None,
        }
    }

    fn tag(validators: &Validators, now: SystemTime) -> String {
        validators.entity_tag(now).as_str().to_owned()
    }

    #[test]
    fn the_etag_of_a_whole_second_is_that_of_unit() {
        let now = SystemTime::now();
        assert_eq!(tag(&of(0x5d66_459d, 0), now), "\"5d66459d-d\"");
        assert_eq!(tag(&of(-0x15180, 0), now), "\"-15180-d\"");
        let coded = Validators {
            coding: Some(Coding::Gzip),
            ..of(16, 0)
        };
        assert_eq!(tag(&coded, now), "\"10-d-gzip\"");
    }

    #[test]
    fn the_etag_has_nanoseconds_where_the_time_has_them() {
        let now = SystemTime::now();
        assert_eq!(tag(&of(16, 0x3b9a_c9ff), now), "\"10.3b9ac9ff-d\"");
        assert_eq!(tag(&of(16, 1), now), "\"10.1-d\"");
        assert_ne!(tag(&of(16, 1), now), tag(&of(16, 2), now));
        let coded = Validators {
            coding: Some(Coding::Gzip),
            ..of(16, 1)
        };
        assert_eq!(tag(&coded, now), "\"10.1-d-gzip\"");
    }

    #[test]
    fn the_etag_is_weak_while_the_file_may_change_unnoticed() {
        let of = of(16, 500_000_000);
        let tag_at = |milliseconds| {
            let tag = of.entity_tag(UNIX_EPOCH + Duration::from_millis(milliseconds));
            assert_eq!(tag.comparable().is_some(), !tag.as_str().starts_with("W/"));
            tag.as_str().to_owned()
        };
        assert_eq!(tag_at(18_499), "W/\"10.1dcd6500-d-new\"");
        assert_eq!(tag_at(18_500), "\"10.1dcd6500-d\"");
        // The clock was set back.
        assert_eq!(tag_at(0), "W/\"10.1dcd6500-d-new\"");
    }

    #[test]
    fn last_modified_is_never_in_the_future_or_out_of_range() {
        let text = |modified, now| of(modified, 0).last_modified(at(now));
        assert_eq!(
            text(784_111_777, 900_000_000).unwrap(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            text(900_000_000, 784_111_777).unwrap(),
            "Sun, 06 Nov 1994 08:49:36 GMT"
        );
        assert_eq!(text(-1, 900_000_000), None);
        assert_eq!(text(0, 0), None);
        assert_eq!(text(i64::MAX, 253_402_300_802), None);
        assert_eq!(text(i64::MIN, 0), None);
    }

    #[test]
    fn last_modified_is_the_second_before_while_the_file_may_change_within_its_own() {
        let text = |now| of(784_111_777, 0).last_modified(at(now)).unwrap();
        for now in [784_111_777, 784_111_778] {
            assert_eq!(text(now), "Sun, 06 Nov 1994 08:49:36 GMT");
        }
        assert_eq!(text(784_111_779), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn a_sibling_is_out_of_date_by_its_nanoseconds_if_it_has_them() {
        let modified = |seconds, nanoseconds| of(seconds, nanoseconds).modified;
        let file = modified(16, 500);
        for (sibling, expected) in [
            (modified(16, 500), true),
            (modified(16, 501), true),
            (modified(17, 0), true),
            (modified(16, 0), true),
            (modified(16, 499), false),
            (modified(15, 999), false),
        ] {
            assert_eq!(sibling.is_up_to_date_with(&file), expected, "{sibling:?}");
        }
    }
}
