//! How many files the process may have open, and what they are for. Who counts them is elsewhere.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Open files of the server itself: listeners, the log, files for guests' output, the state, and connections of the
/// control API: 128 of operators, 8 that are proxied, and 16 that are refused.
const RESERVED_FILES: usize = 256;

/// Open files of a tokio runtime, of which there is one for each worker and one more.
const FILES_PER_RUNTIME: usize = 4;

/// What is taken for the limit where the system does not tell it.
const USUAL_LIMIT: usize = 1024;

/// How the files that the process may have open are split. The control API stays within reach when clients,
/// other servers and guests have taken all that is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// Connections of clients.
    pub(crate) clients: usize,
    /// Connections to other servers, of requests that are with them, and idle ones.
    pub(crate) exchanges: usize,
    /// Files of shares that are sent to clients.
    pub(crate) shares: usize,
    /// What guests open, and the connections of their own requests.
    pub(crate) guests: usize,
}

impl Files {
    /// Splits what the system allows this process, whose soft limit is raised to the hard one.
    pub(crate) fn split(workers: usize) -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
            Ok(usize::try_from(hard).unwrap_or(usize::MAX))
        });
        let limit = limit.unwrap_or_else(|error| {
            tracing::warn!("the limit of open files cannot be raised: {error}");
            USUAL_LIMIT
        });
        Self::of(limit, workers)
    }

    /// Seven sixteenths for clients' connections, most of which are idle, and three each for the others, of what
    /// the server does not need itself. At least one for each, however low the limit is.
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
        let files = Files::of(2000, 2);
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
                let files = Files::of(limit, workers);
                let taken = files.clients + files.exchanges + files.shares + files.guests;
                let left = limit - taken;
                let own = 256 + 4 * (workers + 1);
                assert!(left >= own || taken == 4, "{limit}, {workers}: {files:?}");
                assert!(files.clients >= files.shares);
                assert!(files.exchanges >= 1 && files.shares >= 1 && files.guests >= 1);
            }
        }
        let few = Files::of(10, 1);
        assert_eq!((few.clients, few.exchanges), (1, 1));
        assert_eq!((few.shares, few.guests), (1, 1));
    }
}
