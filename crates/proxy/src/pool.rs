use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until};

use crate::request_body::RequestBody;
use crate::socket::{Socket, SocketIo, View};
use crate::{ProxyError, Server, Timeouts};

/// Of a response's header section, and of its trailers, as in Unit.
pub(crate) const HEADER_BYTES: usize = 64 * 1024;
/// Of a response, or of its trailers.
pub(crate) const HEADER_FIELDS: usize = 256;
/// Of what hyper has read and not yet given, and of what it has taken and not yet written.
const BUFFER: usize = 128 * 1024;

/// Longer than any server keeps one.
const LONGEST_IDLE: Duration = Duration::from_secs(60 * 60);

/// Connections that are kept for the next request, by server. A clone is the same pool; proxies that
/// share one share its connections, so a pool outlives a change of the configuration.
///
/// Connections in use are not counted here, and not bounded: there are as many as requests in progress. See
/// [`Proxy::send_with`](crate::Proxy::send_with) for how to count all of them.
///
/// It has to be used within a tokio runtime with I/O and time. Each connection is driven by a task on
/// the runtime that opened it, and one more task closes what has been idle for too long.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

/// How many connections are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Idle connections to one server. Default: 32. One more is closed after its response. With 0 every
    /// request has a connection of its own, as in Unit.
    pub idle: usize,
    /// How long one is kept idle. Default: 60 seconds; more than an hour is taken for an hour. One that its server closes before is let go at
    /// once.
    pub idle_time: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            idle: 32,
            idle_time: Duration::from_secs(60),
        }
    }
}

struct Shared {
    options: PoolOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The longest idle first.
    idle: HashMap<Server, Vec<Idle>>,
    /// A task looks after them.
    is_watched: bool,
}

struct Idle {
    connection: Connection,
    until: Instant,
}

/// A connection that one request has for itself. Dropped, it is closed.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<RequestBody>,
    pub(crate) socket: View,
}

impl Pool {
    /// An empty pool.
    pub fn new(options: PoolOptions) -> Self {
        Self(Arc::new(Shared {
            options,
            state: Mutex::default(),
        }))
    }

    /// How many connections to a server are idle, those among them that the server has closed since.
    pub fn idle(&self, server: &Server) -> usize {
        self.0.state().idle.get(server).map_or(0, Vec::len)
    }

    /// A connection that was kept, and is as good as new for all that can be told.
    pub(crate) fn take(&self, server: &Server) -> Option<Connection> {
        let now = Instant::now();
        // Closing wakes tasks, which is nothing to do under a lock.
        let mut unfit = Vec::new();
        let mut state = self.0.state();
        let idle = state.idle.get_mut(server)?;
        // The last one that was used is the last one that its server will close.
        while let Some(Idle { connection, until }) = idle.pop() {
            if now < until && connection.is_fit() {
                return Some(connection);
            }
            unfit.push(connection);
        }
        None
    }

    /// Closes the connection that has been idle for the longest time, of all servers. Returns whether there was
    /// one.
    pub(crate) fn close_longest_idle(&self) -> bool {
        let connection = {
            let mut state = self.0.state();
            let first = |idle: &&mut Vec<Idle>| idle.first().map(|it| it.until);
            let all = state.idle.values_mut().filter(|idle| !idle.is_empty());
            let Some(idle) = all.min_by_key(first) else {
                return false;
            };
            idle.remove(0).connection
        };
        // Its socket is closed a moment later, by the task that has it.
        drop(connection.socket.take_lease());
        true
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, server: &Server, connection: Connection) {
        if connection.sender.is_closed() || self.0.options.idle == 0 {
            return;
        }
        let until = Instant::now() + self.0.options.idle_time.min(LONGEST_IDLE);
        let mut state = self.0.state();
        let idle = match state.idle.get_mut(server) {
            Some(idle) => idle,
            None => state.idle.entry(server.clone()).or_default(),
        };
        if idle.len() >= self.0.options.idle {
            return;
        }
        idle.push(Idle { connection, until });
        if !state.is_watched {
            state.is_watched = true;
            tokio::spawn(watch(Arc::downgrade(&self.0), until));
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(PoolOptions::default())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Lets go of what has been idle for too long, and says when to look again.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let mut expired = Vec::new();
        let next = {
            let mut state = self.state();
            state.idle.retain(|_, idle| {
                let count = idle
                    .iter()
                    .take_while(|it| it.until <= now || it.connection.sender.is_closed())
                    .count();
                expired.extend(idle.drain(..count));
                !idle.is_empty()
            });
            let next = state.idle.values().flatten().map(|it| it.until).min();
            state.is_watched = next.is_some();
            next
        };
        drop(expired);
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn watch(pool: Weak<Shared>, mut next: Instant) {
    loop {
        sleep_until(next).await;
        let Some(pool) = pool.upgrade() else { return };
        match pool.expire(Instant::now()) {
            Some(at) => next = at,
            None => return,
        }
    }
}

impl Connection {
    pub(crate) async fn open(server: &Server, timeouts: &Timeouts) -> Result<Self, ProxyError> {
        let io = SocketIo::new(
            Socket::connect(server, timeouts.connect).await?,
            timeouts.send,
        );
        let socket = io.view();
        let (sender, connection) = Builder::new()
            .max_header_size(HEADER_BYTES)
            .max_headers(HEADER_FIELDS)
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| ProxyError::of_sending(&error))?;
        tokio::spawn(async move {
            // Whoever has the request is told, too, and knows what it means.
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!("a connection to an upstream server ended: {error}");
            }
        });
        Ok(Self { sender, socket })
    }

    /// Whether it takes a request now, and has nothing to say that nobody has asked for.
    fn is_fit(&self) -> bool {
        self.sender.is_ready() && self.socket.is_quiet()
    }
}
