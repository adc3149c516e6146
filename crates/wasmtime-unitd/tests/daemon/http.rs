//! The suite that all front ends share.

use crate::support::Daemon;

test_suite::http_suite!(Daemon);
