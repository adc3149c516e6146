//! The suite that all front ends share.

use crate::support::Unitd;

test_suite::http_suite!(Unitd);
