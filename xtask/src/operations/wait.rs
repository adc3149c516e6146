//! Waiting for a condition, with a limit.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at: seldom enough to leave the processor to what is tested.
const INTERVAL: Duration = Duration::from_millis(20);

/// Waits until there is something.
///
/// # Errors
///
/// When there is nothing in time, or `find` fails.
pub(super) fn within<T>(
    limit: Duration,
    what: &str,
    mut find: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = find()? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("{what}: not within {} seconds", limit.as_secs());
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_what_is_found_with_an_error_or_in_time() {
        let mut counter = 0;
        let count = || {
            counter += 1;
            Ok((counter == 3).then_some(counter))
        };
        assert_eq!(within(Duration::from_secs(60), "three", count).unwrap(), 3);
        let limit = Duration::ZERO;
        let error = within(limit, "nothing", || Ok(None::<()>)).unwrap_err();
        assert_eq!(error.to_string(), "nothing: not within 0 seconds");
        assert!(within(limit, "an error", || -> Result<Option<()>> { bail!("it") }).is_err());
    }
}
