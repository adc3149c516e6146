//! Log events about requests, whose target depends on who sent the request.

/// Logs an event about a request of this origin. Events of proxied clients have their own target and call site, and
/// thereby their own rate limit: clients of a listener must not get the lines of operators suppressed.
macro_rules! report {
    ($level:ident, $origin:expr, $($event:tt)+) => {
        match $origin {
            $crate::Origin::Operator => tracing::$level!($($event)+),
            $crate::Origin::Proxied => tracing::$level!(target: "control::proxied", $($event)+),
        }
    };
}

pub(crate) use report;
