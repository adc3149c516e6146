//! `cargo xtask operations`: what `docs/operations.md` promises, with the tools that operators use, as tests. What a
//! machine has no means for is left out, with the reason.

mod balancer;
mod certbot;
mod debian_service;
mod haproxy;
mod launcher;
mod namespaces;
mod wait;
mod wrk;

use anyhow::Result;

pub(crate) use self::certbot::renewal;

/// A test. Gives what was left out.
type Walkthrough = fn() -> Result<Option<String>>;

const WALKTHROUGHS: [Walkthrough; 3] = [balancer::test, certbot::test, debian_service::test];

/// Runs all. Gives what was left out, each with the reason.
///
/// # Errors
///
/// When something is not as it is promised.
pub(crate) fn run() -> Result<Vec<String>> {
    let mut skipped = Vec::new();
    for walkthrough in WALKTHROUGHS {
        skipped.extend(walkthrough()?);
    }
    Ok(skipped)
}
