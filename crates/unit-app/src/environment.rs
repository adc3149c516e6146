use std::num::NonZeroUsize;
use std::time::Duration;

use engine::Limits;

/// What the names of the module's own options begin with, in the application's `environment`.
///
/// unitd refuses members that it does not know, so that what it has no word for is set there. No
/// guest sees these names.
const PREFIX: &str = "NXT_WASMTIME_";

/// How long a response may take by default, from its head to its end.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Threads are cheap to ask for and not to have.
const MAX_THREADS: usize = 256;

/// The options of one application.
///
/// | name | unit | default | least | most |
/// | --- | --- | --- | --- | --- |
/// | `NXT_WASMTIME_THREADS` | threads | what the machine offers | 1 | 256 |
/// | `NXT_WASMTIME_TIMEOUT` | seconds | 30 | 0.001 | 86400 |
/// | `NXT_WASMTIME_MEMORY` | bytes | 268435456 | 65536 | 2^48 |
/// | `NXT_WASMTIME_RESPONSE_TIMEOUT` | seconds, 0: none | 3600 | 0.001 | 31536000 |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Worker threads; `None` is as many as the machine offers.
    pub threads: Option<NonZeroUsize>,
    /// What one request may take.
    pub limits: Limits,
    /// How long a response may take from its head to its end. Unit does not tell its applications
    /// that a client has left, so this is what ends a guest that streams to nobody.
    pub response_timeout: Option<Duration>,
    /// Unit's own `limits.timeout`: how long it waits for the next piece of a response before it
    /// gives the request up, without telling the application.
    pub silence: Option<Duration>,
}

/// Why an application's `environment` is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// No option has this name.
    #[error("there is no option {name:?}; those that begin with {PREFIX} are {}", NAMES.join(", "))]
    Unknown {
        /// What it was called.
        name: String,
    },
    /// The option's value is none that it takes.
    #[error("the option {name} is {value:?}; it takes {expected}")]
    Value {
        /// The option.
        name: &'static str,
        /// What it was given.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
}

const THREADS: &str = "NXT_WASMTIME_THREADS";
const TIMEOUT: &str = "NXT_WASMTIME_TIMEOUT";
const MEMORY: &str = "NXT_WASMTIME_MEMORY";
const RESPONSE: &str = "NXT_WASMTIME_RESPONSE_TIMEOUT";

const NAMES: [&str; 4] = [THREADS, TIMEOUT, MEMORY, RESPONSE];

impl Options {
    /// Takes the options out of `environment`, and leaves what guests see.
    ///
    /// `unit_timeout` is Unit's own `limits.timeout`. When it has passed without a response, Unit
    /// answers 503 and forgets the request, so that it ends the guest as well.
    ///
    /// # Errors
    ///
    /// When an option is unknown, or its value is not one that it takes.
    pub fn take(
        environment: &mut Vec<(String, String)>,
        unit_timeout: Option<Duration>,
    ) -> Result<Self, EnvironmentError> {
        let mut options = Self {
            threads: None,
            limits: Limits::default(),
            response_timeout: Some(RESPONSE_TIMEOUT),
            silence: unit_timeout,
        };
        for (name, value) in environment.extract_if(.., |(name, _)| name.starts_with(PREFIX)) {
            options.set(&name, &value)?;
        }
        if let Some(timeout) = unit_timeout {
            options.limits.timeout = options.limits.timeout.min(timeout);
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), EnvironmentError> {
        match name {
            THREADS => {
                let threads = value.parse().ok();
                let threads = threads.filter(|it: &NonZeroUsize| it.get() <= MAX_THREADS);
                let error = refused(THREADS, value, "a number from 1 to 256");
                self.threads = Some(threads.ok_or_else(error)?);
            }
            TIMEOUT => {
                let error = refused(TIMEOUT, value, "seconds, from 0.001 to 86400");
                self.limits.timeout = seconds(value, 86_400.0).ok_or_else(error)?;
            }
            MEMORY => {
                let bytes = value.parse().ok();
                let bytes = bytes.filter(|bytes| (1 << 16..=1 << 48).contains(bytes));
                let error = refused(MEMORY, value, "bytes, from 65536 to 281474976710656");
                self.limits.memory = bytes.ok_or_else(error)?;
            }
            RESPONSE if value == "0" => self.response_timeout = None,
            RESPONSE => {
                let expected = "seconds, from 0.001 to 31536000, or 0 for no limit";
                let error = refused(RESPONSE, value, expected);
                self.response_timeout = Some(seconds(value, 31_536_000.0).ok_or_else(error)?);
            }
            _ => {
                return Err(EnvironmentError::Unknown {
                    name: name.to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn refused(
    name: &'static str,
    value: &str,
    expected: &'static str,
) -> impl FnOnce() -> EnvironmentError {
    let value = value.to_owned();
    move || EnvironmentError::Value {
        name,
        value,
        expected,
    }
}

/// A number of seconds, in digits with at most one point.
fn seconds(text: &str, most: f64) -> Option<Duration> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = text.parse().ok()?;
    (plain && (0.001..=most).contains(&seconds)).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(environment: &[(&str, &str)]) -> Result<(Options, Vec<String>), EnvironmentError> {
        let mut environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let options = Options::take(&mut environment, None)?;
        let left = environment.into_iter().map(|(name, _)| name).collect();
        Ok((options, left))
    }

    #[test]
    fn guests_see_the_rest_in_its_order() {
        let (options, left) = take(&[
            ("B", "1"),
            ("NXT_WASMTIME_THREADS", "3"),
            ("A", "2"),
            ("NXT_WASMTIME_MEMORY", "65536"),
            ("XNXT_WASMTIME_THREADS", "x"),
        ])
        .unwrap();
        assert_eq!(left, ["B", "A", "XNXT_WASMTIME_THREADS"]);
        assert_eq!(options.threads.unwrap().get(), 3);
        assert_eq!(options.limits.memory, 65536);
        assert_eq!(options.limits.timeout, Limits::default().timeout);
    }

    #[test]
    fn a_value_that_an_option_does_not_take_is_named() {
        for (name, value) in [
            (THREADS, "0"),
            (THREADS, "257"),
            (THREADS, "-1"),
            (THREADS, ""),
            (TIMEOUT, "0"),
            (TIMEOUT, "1e3"),
            (TIMEOUT, "inf"),
            (TIMEOUT, "NaN"),
            (TIMEOUT, "86401"),
            (TIMEOUT, " 1"),
            (MEMORY, "65535"),
            (MEMORY, "1G"),
            (RESPONSE, "-0"),
            (RESPONSE, "1s"),
        ] {
            let message = take(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
            assert!(message.contains(&format!("{value:?}")), "{message}");
        }
    }

    #[test]
    fn a_name_that_is_no_option_is_refused_with_those_that_are() {
        let message = take(&[("NXT_WASMTIME_TREADS", "1")])
            .unwrap_err()
            .to_string();
        assert!(message.contains("NXT_WASMTIME_TREADS"), "{message}");
        assert!(message.contains("NXT_WASMTIME_THREADS"), "{message}");
    }

    #[test]
    fn the_earlier_of_both_timeouts_counts() {
        let with = |own: &str, unit| {
            let mut environment = vec![(TIMEOUT.to_owned(), own.to_owned())];
            let unit = Some(Duration::from_secs(unit));
            Options::take(&mut environment, unit)
                .unwrap()
                .limits
                .timeout
        };
        assert_eq!(with("1.5", 2), Duration::from_millis(1500));
        assert_eq!(with("10", 2), Duration::from_secs(2));
    }

    #[test]
    fn a_response_may_be_given_all_the_time_there_is() {
        assert_eq!(take(&[(RESPONSE, "0")]).unwrap().0.response_timeout, None);
        assert_eq!(
            take(&[(RESPONSE, "0.5")]).unwrap().0.response_timeout,
            Some(Duration::from_millis(500))
        );
    }
}
