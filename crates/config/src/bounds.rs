//! The bounds of numeric options, for both of their forms: members of a configuration, and the names that the
//! module for NGINX Unit reads from an application's `environment`.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

/// `limits.timeout`. Unit stores milliseconds in 32 bits. Members of a configuration are whole seconds.
pub const TIMEOUT: Seconds = Seconds { most: 4_294_967 };

/// `limits.execution_timeout`.
pub const EXECUTION_TIMEOUT: Seconds = Seconds { most: 4_294_967 };

/// `limits.memory`. At least one page of a linear memory; the maximum is larger than one 32-bit memory, since an
/// instance may have several.
pub const MEMORY: Whole = Whole {
    unit: "bytes",
    least: 1 << 16,
    most: 16 << 30,
};

/// `limits.concurrency`.
pub const CONCURRENCY: Whole = Whole {
    unit: "requests",
    least: 1,
    most: 1_000_000,
};

/// `limits.files`.
pub const FILES: Whole = Whole {
    unit: "files",
    least: 0,
    most: 1_000_000,
};

/// `limits.weight`.
pub const WEIGHT: Whole = Whole {
    unit: "",
    least: 1,
    most: 1000,
};

/// `instances.reuse`.
pub const INSTANCE_REUSE: Whole = Whole {
    unit: "requests",
    least: 1,
    most: 1_000_000,
};

/// `instances.concurrency`.
pub const INSTANCE_CONCURRENCY: Whole = Whole {
    unit: "requests",
    least: 1,
    most: 1000,
};

/// Elements of `access.filesystem`.
pub const FOLDERS: usize = 64;

/// Elements of `access.outbound_http`, which are compared one by one with each outgoing request.
pub const GRANTS: usize = 256;

/// Members of `response_headers`. `HeaderMap` panics above some 24,000.
pub const RESPONSE_HEADERS: usize = 1024;

/// A whole number from `least` to `most`, both included. `Display` describes the accepted values.
///
/// ```
/// use config::bounds::MEMORY;
///
/// assert_eq!(MEMORY.read::<u64>("65536"), Some(65536));
/// assert_eq!(MEMORY.read::<u64>("65535"), None);
/// assert_eq!(
///     MEMORY.to_string(),
///     "a whole number of bytes from 65536 to 17179869184"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The unit in the plural; empty for a ratio.
    pub unit: &'static str,
    /// The minimum.
    pub least: u64,
    /// The maximum.
    pub most: u64,
}

impl Whole {
    /// Parses decimal digits; `None` for other texts, and out of bounds.
    #[must_use]
    pub fn read<T: FromStr>(&self, text: &str) -> Option<T> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = text.parse().ok()?;
        let taken = digits && (self.least..=self.most).contains(&number);
        taken.then(|| text.parse().ok())?
    }
}

impl Display for Whole {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { unit, least, most } = self;
        f.write_str("a whole number")?;
        if !unit.is_empty() {
            write!(f, " of {unit}")?;
        }
        write!(f, " from {least} to {most}")
    }
}

/// Seconds with fractions, from 0.001 to `most`; or 0 for unlimited, which becomes [`Duration::MAX`]. `Display`
/// describes the accepted values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds {
    /// The maximum.
    pub most: u32,
}

impl Seconds {
    /// Parses decimal digits with at most one point; `None` for other texts, and out of bounds.
    ///
    /// ```
    /// use std::time::Duration;
    /// use config::bounds::EXECUTION_TIMEOUT;
    ///
    /// assert_eq!(EXECUTION_TIMEOUT.read("0.05"), Some(Duration::from_millis(50)));
    /// assert_eq!(EXECUTION_TIMEOUT.read("0"), Some(Duration::MAX));
    /// assert_eq!(EXECUTION_TIMEOUT.read("5e1"), None);
    /// ```
    #[must_use]
    pub fn read(&self, text: &str) -> Option<Duration> {
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        plain.then(|| self.of(text))?
    }

    /// Converts a number of JSON.
    pub(crate) fn of(&self, text: &str) -> Option<Duration> {
        let seconds: f64 = text.parse().ok()?;
        if seconds == 0.0 {
            // A tiny number that rounds to zero must not become unlimited.
            let mut digits = text.bytes().take_while(|byte| !b"eE".contains(byte));
            let zero = digits.all(|byte| !(b'1'..=b'9').contains(&byte));
            return zero.then_some(Duration::MAX);
        }
        let taken = (0.001..=f64::from(self.most)).contains(&seconds);
        taken.then(|| Duration::from_secs_f64(seconds))
    }
}

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let most = self.most;
        write!(f, "seconds from 0.001 to {most}, or 0 for no limit")
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn whole_numbers_are_digits_within_bounds() {
        assert_eq!(CONCURRENCY.read("1"), NonZeroU32::new(1));
        assert_eq!(CONCURRENCY.read("1000000"), NonZeroU32::new(1_000_000));
        for text in [
            "",
            "0",
            "1000001",
            "+1",
            "-1",
            "1.0",
            "1e3",
            " 1",
            "1 ",
            "0x1",
            "99999999999999999999999",
        ] {
            assert_eq!(CONCURRENCY.read::<NonZeroU32>(text), None, "{text:?}");
        }
    }

    #[test]
    fn seconds_are_digits_with_a_point() {
        let most = Duration::from_secs(4_294_967);
        assert_eq!(TIMEOUT.read("4294967"), Some(most));
        assert_eq!(TIMEOUT.read("0.001"), Some(Duration::from_millis(1)));
        for text in [
            "",
            ".",
            "-1",
            "-0",
            "+1",
            "1s",
            "1,5",
            "1.5.0",
            "1e3",
            "inf",
            "NaN",
            "0.0001",
            "4294967.1",
        ] {
            assert_eq!(TIMEOUT.read(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_zero_itself_is_no_limit() {
        for text in ["0", "0.000", "00", "-0", "0e5", "0.0E-3"] {
            assert_eq!(EXECUTION_TIMEOUT.of(text), Some(Duration::MAX), "{text}");
        }
        let tiny = format!("0.{}1", "0".repeat(400));
        for text in ["1e-999", "-1e-999", &tiny] {
            assert_eq!(EXECUTION_TIMEOUT.of(text), None, "{text}");
        }
    }
}
