//! The suite that all front ends share, against the daemon.

mod support;

use support::Daemon;

test_suite::http_suite!(Daemon);
