//! The module's options, which are set in the application's `environment`.
//!
//! unitd refuses members of the configuration that it does not know, so options that Unit lacks are set
//! there, with names that begin with `NXT_WASMTIME_`. Guests do not see those names. The units, bounds
//! and checks are the daemon's, from `config`.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use config::bounds::{self, Seconds, Whole};
use engine::{GuestAuthority, Instances, Limits};
use outbound_policy::{Grant, GrantError, Policy};

const PREFIX: &str = "NXT_WASMTIME_";

/// The default of `NXT_WASMTIME_RESPONSE_TIMEOUT`.
const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(3600);

/// An upper bound, against typing errors: each thread costs memory.
const THREADS_BOUNDS: Whole = Whole {
    unit: "threads",
    least: 1,
    most: 256,
};

/// A year.
const RESPONSE_BOUNDS: Seconds = Seconds { most: 31_536_000 };

/// The most characters of a refused value that a message shows.
const MAX_SHOWN: usize = 100;

/// The options of one application. Their bounds, where the daemon has the same option, are those of
/// [`config::bounds`].
///
/// | name | what it is | default |
/// | --- | --- | --- |
/// | `NXT_WASMTIME_THREADS` | threads, 1 to 256 | one per core that the process may use |
/// | `NXT_WASMTIME_TIMEOUT` | seconds; 0 is no limit | 30 |
/// | `NXT_WASMTIME_EXECUTION_TIMEOUT` | seconds; 0 is no limit | 10 |
/// | `NXT_WASMTIME_MEMORY` | bytes | 268435456 |
/// | `NXT_WASMTIME_CONCURRENCY` | requests | the engine's choice |
/// | `NXT_WASMTIME_FILES` | open files of an instance | 64 |
/// | `NXT_WASMTIME_INSTANCES` | a JSON object of `reuse` and `concurrency` | 1 and 1 |
/// | `NXT_WASMTIME_OUTBOUND_HTTP` | grants with spaces between them | nothing |
/// | `NXT_WASMTIME_AUTHORITY` | `server-name` or `host` | by the component's version of WASI |
/// | `NXT_WASMTIME_RESPONSE_TIMEOUT` | seconds, up to 31536000; 0 is no limit | 3600 |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Worker threads; `None` is one for each core that the process may use.
    pub threads: Option<NonZeroUsize>,
    /// Of one request.
    pub limits: Limits,
    /// How many requests an instance serves.
    pub instances: Instances,
    /// Where guests may send requests to.
    pub outbound: Policy,
    /// What guests see as the authority of a request; `None` is the default of the component's WASI.
    pub authority: Option<GuestAuthority>,
    /// How long a response may take from its head to its end. Unit does not tell its applications that a
    /// client has left, so only this ends a guest that keeps streaming to one.
    pub response_timeout: Option<Duration>,
    /// Unit's `limits.timeout`: how long it waits for the next piece of a response before it gives the
    /// request up, without telling the application.
    pub progress_timeout: Option<Duration>,
}

/// Why an application's `environment` is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// No option has this name.
    #[error("unknown option {name:?}; the options that begin with {PREFIX} are {}", NAMES.join(", "))]
    Unknown {
        /// As it was set.
        name: String,
    },
    /// The option does not accept this value.
    #[error("invalid value {value:?} of the option {name}; it takes {expected}")]
    Value {
        /// Of the option.
        name: &'static str,
        /// The value, or the beginning of a long one.
        value: String,
        /// A description of valid values.
        expected: String,
    },
    /// The option takes a JSON object, and this one is invalid.
    #[error("invalid value {value:?} of the option {name}; it takes {expected}: {error}")]
    Object {
        /// Of the option.
        name: &'static str,
        /// The value, or the beginning of a long one.
        value: String,
        /// A description of valid values.
        expected: &'static str,
        /// The error, with its position.
        error: String,
    },
    /// An entry of the list is not a grant.
    #[error("invalid entry in the option {OUTBOUND_HTTP}: {0}")]
    Grant(#[from] GrantError),
}

const THREADS: &str = "NXT_WASMTIME_THREADS";
const TIMEOUT: &str = "NXT_WASMTIME_TIMEOUT";
const EXECUTION_TIMEOUT: &str = "NXT_WASMTIME_EXECUTION_TIMEOUT";
const MEMORY: &str = "NXT_WASMTIME_MEMORY";
const CONCURRENCY: &str = "NXT_WASMTIME_CONCURRENCY";
const FILES: &str = "NXT_WASMTIME_FILES";
const INSTANCES: &str = "NXT_WASMTIME_INSTANCES";
const OUTBOUND_HTTP: &str = "NXT_WASMTIME_OUTBOUND_HTTP";
const AUTHORITY: &str = "NXT_WASMTIME_AUTHORITY";
pub(crate) const RESPONSE_TIMEOUT: &str = "NXT_WASMTIME_RESPONSE_TIMEOUT";

const NAMES: [&str; 10] = [
    THREADS,
    TIMEOUT,
    EXECUTION_TIMEOUT,
    MEMORY,
    CONCURRENCY,
    FILES,
    INSTANCES,
    OUTBOUND_HTTP,
    AUTHORITY,
    RESPONSE_TIMEOUT,
];

impl Options {
    /// Moves the options out of `environment`, and leaves what guests see.
    ///
    /// `unit_timeout` is Unit's `limits.timeout`. After so long without a response, Unit answers 503 and
    /// forgets the request, so it bounds the guest's time as well.
    ///
    /// # Errors
    ///
    /// When an option is unknown, or does not accept its value.
    pub fn take(
        environment: &mut Vec<(String, String)>,
        unit_timeout: Option<Duration>,
    ) -> Result<Self, EnvironmentError> {
        let mut options = Self {
            threads: None,
            limits: Limits::default(),
            instances: Instances::default(),
            outbound: Policy::default(),
            authority: None,
            response_timeout: Some(DEFAULT_RESPONSE_TIMEOUT),
            progress_timeout: unit_timeout,
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
            THREADS => self.threads = Some(whole(THREADS, value, THREADS_BOUNDS)?),
            TIMEOUT => self.limits.timeout = seconds(TIMEOUT, value, bounds::TIMEOUT)?,
            EXECUTION_TIMEOUT => {
                let bounds = bounds::EXECUTION_TIMEOUT;
                self.limits.execution_timeout = seconds(EXECUTION_TIMEOUT, value, bounds)?;
            }
            MEMORY => self.limits.memory = whole(MEMORY, value, bounds::MEMORY)?,
            CONCURRENCY => {
                let concurrency = whole(CONCURRENCY, value, bounds::CONCURRENCY)?;
                self.limits.concurrency = Some(concurrency);
            }
            FILES => self.limits.files = whole(FILES, value, bounds::FILES)?,
            INSTANCES => self.instances = instances(value)?,
            OUTBOUND_HTTP => self.outbound = outbound(value)?,
            AUTHORITY => self.authority = Some(authority(value)?),
            RESPONSE_TIMEOUT => {
                let time = seconds(RESPONSE_TIMEOUT, value, RESPONSE_BOUNDS)?;
                self.response_timeout = Some(time).filter(|time| *time != Duration::MAX);
            }
            _ => {
                return Err(EnvironmentError::Unknown { name: shown(name) });
            }
        }
        Ok(())
    }
}

fn whole<T: FromStr>(
    name: &'static str,
    value: &str,
    bounds: Whole,
) -> Result<T, EnvironmentError> {
    bounds
        .read(value)
        .ok_or_else(|| refused(name, value, bounds.to_string()))
}

fn seconds(name: &'static str, value: &str, bounds: Seconds) -> Result<Duration, EnvironmentError> {
    bounds
        .read(value)
        .ok_or_else(|| refused(name, value, bounds.to_string()))
}

/// The daemon's `instances`, as JSON text.
fn instances(value: &str) -> Result<Instances, EnvironmentError> {
    let wrong = |error: String| EnvironmentError::Object {
        name: INSTANCES,
        value: shown(value),
        expected: "an object such as {\"reuse\": 100, \"concurrency\": 1}",
        error,
    };
    let value = config::parse(value.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let checked = config::Instances::check(&value).map_err(|error| {
        let hint = error
            .suggestion
            .map_or_else(String::new, |word| format!("; did you mean \"{word}\"?"));
        wrong(format!("{error}{hint}"))
    })?;
    Ok(Instances {
        reuse: checked.reuse,
        concurrency: checked.concurrency,
    })
}

/// Grants, separated by spaces.
fn outbound(value: &str) -> Result<Policy, EnvironmentError> {
    let entries = value.split(' ').filter(|entry| !entry.is_empty());
    let grants: Vec<Grant> = entries
        .take(bounds::GRANTS + 1)
        .map(Grant::parse)
        .collect::<Result<_, _>>()?;
    if grants.len() > bounds::GRANTS {
        let expected = format!("at most {} entries", bounds::GRANTS);
        return Err(refused(OUTBOUND_HTTP, value, expected));
    }
    Ok(Policy::new(grants))
}

/// The daemon's `authority`.
fn authority(value: &str) -> Result<GuestAuthority, EnvironmentError> {
    match config::Authority::parse(value) {
        Some(config::Authority::ServerName) => Ok(GuestAuthority::ServerName),
        Some(config::Authority::Host) => Ok(GuestAuthority::Host),
        None => {
            let names = config::Authority::NAMES.join(" or ");
            Err(refused(AUTHORITY, value, names))
        }
    }
}

fn refused(name: &'static str, value: &str, expected: String) -> EnvironmentError {
    EnvironmentError::Value {
        name,
        value: shown(value),
        expected,
    }
}

/// The text, or the beginning of a long one.
fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
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
    fn guests_see_the_other_variables_in_their_order() {
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
    fn invalid_values_are_refused_with_option_and_value() {
        for (name, value) in [
            (THREADS, "0"),
            (THREADS, "257"),
            (THREADS, "-1"),
            (THREADS, ""),
            (TIMEOUT, "1e3"),
            (TIMEOUT, "inf"),
            (TIMEOUT, "NaN"),
            (TIMEOUT, "4294968"),
            (TIMEOUT, "-1"),
            (TIMEOUT, " 1"),
            (MEMORY, "65535"),
            (MEMORY, "1G"),
            (MEMORY, "+65536"),
            (MEMORY, "17179869185"),
            (EXECUTION_TIMEOUT, "0.0001"),
            (EXECUTION_TIMEOUT, "5s"),
            (EXECUTION_TIMEOUT, "-0.5"),
            (CONCURRENCY, "0"),
            (CONCURRENCY, "1.5"),
            (CONCURRENCY, "1000001"),
            (FILES, "-1"),
            (FILES, "1000001"),
            (INSTANCES, ""),
            (INSTANCES, "100"),
            (INSTANCES, "{"),
            (INSTANCES, "{} {}"),
            (INSTANCES, "null"),
            (AUTHORITY, ""),
            (AUTHORITY, "Host"),
            (AUTHORITY, "server_name"),
            (RESPONSE_TIMEOUT, "-0"),
            (RESPONSE_TIMEOUT, "1s"),
        ] {
            let message = take(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
            assert!(message.contains(&format!("{value:?}")), "{message}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused_with_a_list_of_the_known_ones() {
        let message = take(&[("NXT_WASMTIME_TREADS", "1")])
            .unwrap_err()
            .to_string();
        assert!(message.contains("NXT_WASMTIME_TREADS"), "{message}");
        assert!(message.contains("NXT_WASMTIME_THREADS"), "{message}");
    }

    #[test]
    fn options_of_the_daemon_accept_the_same_values() {
        let (options, left) = take(&[
            (EXECUTION_TIMEOUT, "0.05"),
            (CONCURRENCY, "1000000"),
            (FILES, "0"),
            (INSTANCES, r#"{"reuse": 100, "concurrency": 4,}"#),
            (MEMORY, "17179869184"),
            (TIMEOUT, "4294967"),
        ])
        .unwrap();
        assert_eq!(left, [""; 0]);
        let limits = options.limits;
        assert_eq!(limits.execution_timeout, Duration::from_millis(50));
        assert_eq!(limits.concurrency.unwrap().get(), 1_000_000);
        assert_eq!(limits.memory, 16 << 30);
        assert_eq!(limits.timeout, Duration::from_secs(4_294_967));
        assert_eq!(options.instances.reuse.get(), 100);
        assert_eq!(options.instances.concurrency.get(), 4);
    }

    #[test]
    fn the_authority_is_the_server_name_or_the_host() {
        let authority = |value| take(&[(AUTHORITY, value)]).unwrap().0.authority;
        assert_eq!(authority("host"), Some(GuestAuthority::Host));
        assert_eq!(authority("server-name"), Some(GuestAuthority::ServerName));
        assert_eq!(take(&[]).unwrap().0.authority, None);
    }

    #[test]
    fn a_timeout_of_zero_is_no_limit() {
        let (options, _) = take(&[(TIMEOUT, "0"), (EXECUTION_TIMEOUT, "0")]).unwrap();
        assert_eq!(options.limits.timeout, Duration::MAX);
        assert_eq!(options.limits.execution_timeout, Duration::MAX);
    }

    #[test]
    fn errors_in_instances_have_their_position() {
        for (value, words) in [
            (
                r#"{"reuse": 0}"#,
                r#"from 1 to 1000000, but not 0. (at "/reuse")"#,
            ),
            (
                r#"{"concurrency": 2}"#,
                r#"less than or equal to "reuse", which is 1. (at "/concurrency")"#,
            ),
            (
                r#"{"re_use": 2}"#,
                r#"Unknown parameter "re_use". (at ""); did you mean "reuse"?"#,
            ),
            ("[]", "must be an object, but not an array"),
            (r#"{"reuse": 1"#, "line 1, column 12"),
        ] {
            let message = take(&[(INSTANCES, value)]).unwrap_err().to_string();
            assert!(message.contains(INSTANCES), "{message}");
            assert!(message.contains(&format!("{value:?}")), "{message}");
            assert!(message.contains(words), "{words:?} in {message:?}");
        }
    }

    #[test]
    fn outbound_grants_are_separated_by_spaces() {
        let grants = |text: &str| {
            let (options, _) = take(&[(OUTBOUND_HTTP, text)]).unwrap();
            let grants = options.outbound.grants().iter().map(ToString::to_string);
            grants.collect::<Vec<_>>()
        };
        assert_eq!(grants("https://a.example"), ["https://a.example"]);
        assert_eq!(
            grants("  https://a.example   http://*.internal:* "),
            ["https://a.example", "http://*.internal:*"]
        );
        for nothing in ["", " ", "   "] {
            assert_eq!(grants(nothing), [""; 0]);
        }
        assert!(take(&[]).unwrap().0.outbound.is_empty());
    }

    #[test]
    fn an_invalid_outbound_grant_is_refused_by_name() {
        for (value, entry) in [
            ("* a.example", "a.example"),
            (
                "http://a.example,http://b.example",
                "http://a.example,http://b.example",
            ),
            ("http://a.example\thttp://b.example", "http://a.example"),
            ("https://a.example/", "https://a.example/"),
        ] {
            let message = take(&[(OUTBOUND_HTTP, value)]).unwrap_err().to_string();
            assert!(message.contains(OUTBOUND_HTTP), "{message}");
            assert!(message.contains(entry), "{message}");
            assert!(message.contains("invalid grant"), "{message}");
        }
        let many = "* ".repeat(257);
        let message = take(&[(OUTBOUND_HTTP, &many)]).unwrap_err().to_string();
        assert!(message.contains("at most 256 entries"), "{message}");
    }

    #[test]
    fn messages_are_short_even_for_long_values() {
        let long = "9".repeat(1 << 20);
        let unknown = format!("{PREFIX}{long}");
        for name in NAMES.into_iter().chain([unknown.as_str()]) {
            let message = take(&[(name, &long)]).unwrap_err().to_string();
            assert!(message.len() < 1000, "{name}: {} bytes", message.len());
        }
    }

    #[test]
    fn the_shorter_of_both_timeouts_applies() {
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
        assert_eq!(with("0", 2), Duration::from_secs(2));
    }

    #[test]
    fn a_response_timeout_of_zero_is_no_limit() {
        assert_eq!(
            take(&[(RESPONSE_TIMEOUT, "0")]).unwrap().0.response_timeout,
            None
        );
        assert_eq!(
            take(&[(RESPONSE_TIMEOUT, "0.5")])
                .unwrap()
                .0
                .response_timeout,
            Some(Duration::from_millis(500))
        );
    }
}
