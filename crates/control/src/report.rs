//! Log lines about requests, apart by who sent them.

/// Logs an event of `tracing`'s macro `$level` about a request of this origin. Those of proxied clients have a target,
/// and places in the code, of their own. So they have a rate limit of their own, where the log has any: strangers
/// must not have the lines of operators left out.
macro_rules! report {
    ($level:ident, $origin:expr, $($event:tt)+) => {
        match $origin {
            $crate::Origin::Operator => tracing::$level!($($event)+),
            $crate::Origin::Proxied => tracing::$level!(target: "control::proxied", $($event)+),
        }
    };
}

pub(crate) use report;
