//! Splits the files that the process may have open between clients, upstreams, shares and guests. Those count
//! theirs themselves.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Open files of the server itself: listeners, the log, files of guest output, the state, connections of the control
/// API (128 of operators, 8 proxied ones, 16 that are being refused), and those for health checks (32).
const RESERVED_FILES: usize = 256;

/// Open files of a tokio runtime. There is one runtime per worker, and the one in the background.
const FILES_PER_RUNTIME: usize = 4;

/// Assumed where the system does not say its limit.
const USUAL_LIMIT: usize = 1024;

/// The limits of each kind. The server's own files are set aside, so that the control API stays reachable when all
/// limits are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileBudget {
    /// Connections of clients.
    pub(crate) clients: usize,
    /// Connections to upstreams, in use and idle.
    pub(crate) exchanges: usize,
    /// Files of shares that are sent to clients.
    pub(crate) shares: usize,
    /// Files that guests open, and connections of guests' outgoing requests.
    pub(crate) guests: usize,
}

impl FileBudget {
    /// Raises the soft limit of the process to the hard one, and splits it.
    pub(crate) fn split(workers: usize) -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
            Ok(usize::try_from(hard).unwrap_or(usize::MAX))
        });
        let limit = limit.unwrap_or_else(|error| {
            tracing::warn!("cannot raise the limit of open files (RLIMIT_NOFILE): {error}; assuming {USUAL_LIMIT}");
            USUAL_LIMIT
        });
        Self::of(limit, workers)
    }

    /// Of the files that the server does not need itself, 7/16 are for clients' connections, most of which are idle,
    /// and 3/16 each for the others. At least one each, however low the limit is.
    fn of(limit: usize, workers: usize) -> Self {
        let reserved = RESERVED_FILES + FILES_PER_RUNTIME * (workers + 1);
        let files = limit.saturating_sub(reserved).max(4);
        let part = (files / 16 * 3).max(1);
        Self {
            clients: files.saturating_sub(3 * part).max(1),
            exchanges: part,
            shares: part,
            guests: part,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_open_files_most_are_for_clients_and_the_same_part_each_for_upstreams_shares_and_guests()
     {
        let files = FileBudget::of(2000, 2);
        // 256, and 4 each for two workers and the background.
        let left = 2000 - 256 - 3 * 4;
        let part = left / 16 * 3;
        assert_eq!((files.clients, part), (760, 324));
        assert_eq!(
            (files.exchanges, files.shares, files.guests),
            (part, part, part)
        );
    }

    #[test]
    fn the_open_files_of_the_server_itself_are_left_whatever_the_limit_is() {
        for limit in (300..5000).chain([1 << 20, usize::MAX]) {
            for workers in [1, 2, 8] {
                let files = FileBudget::of(limit, workers);
                let taken = files.clients + files.exchanges + files.shares + files.guests;
                let left = limit - taken;
                let own = 256 + 4 * (workers + 1);
                assert!(left >= own || taken == 4, "{limit}, {workers}: {files:?}");
                assert!(files.clients >= files.shares);
                assert!(files.exchanges >= 1 && files.shares >= 1 && files.guests >= 1);
            }
        }
        let few = FileBudget::of(10, 1);
        assert_eq!((few.clients, few.exchanges), (1, 1));
        assert_eq!((few.shares, few.guests), (1, 1));
    }
}
