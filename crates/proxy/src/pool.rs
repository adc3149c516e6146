//! Keep-alive: the idle connections to all servers, and opening new ones. What is sent on them is decided by `proxy`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::limits::{CONNECTION_BUFFER, HEADER_BYTES, HEADER_FIELDS};
use crate::request_body::RequestBody;
use crate::socket::{Socket, SocketIo, SocketView};
use crate::{ProxyError, Server, Timeouts};

/// [`PoolOptions::idle_time`] is at most this: longer than any server keeps an idle connection.
const LONGEST_IDLE: Duration = Duration::from_secs(60 * 60);

/// Keep-alive connections, by server. A clone is the same pool; proxies that share one share its connections, so a
/// pool can outlive a change of the configuration.
///
/// Connections in use are neither counted nor limited here: there are as many as requests in progress. To count all of
/// them, see [`Proxy::send_with`](crate::Proxy::send_with).
///
/// It must be used within a tokio runtime with I/O and time. Each connection is driven by a task on the runtime that
/// opened it, and one more task closes those that have been idle for too long.
#[derive(Clone)]
pub struct Pool(Arc<SharedPool>);

/// How many connections are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Idle connections to one server. Default: 32. One more is closed after its response. With 0 each request opens a
    /// connection, as in Unit.
    pub idle: usize,
    /// How long a connection is kept idle. Default: 60 seconds; at most an hour. If the server closes it
    /// earlier, its socket is closed at once; its entry counts until the next request or until it expires.
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

struct SharedPool {
    options: PoolOptions,
    connections: Mutex<IdleConnections>,
}

#[derive(Default)]
struct IdleConnections {
    /// For each server the longest idle first.
    by_server: HashMap<Server, Vec<IdleConnection>>,
    /// There is a task that closes those that expire.
    has_expiry_task: bool,
}

struct IdleConnection {
    connection: Connection,
    until: Instant,
}

/// A connection that one request has for itself. Dropped, it is closed.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<RequestBody>,
    pub(crate) socket: SocketView,
}

impl Pool {
    /// An empty pool.
    pub fn new(options: PoolOptions) -> Self {
        Self(Arc::new(SharedPool {
            options,
            connections: Mutex::default(),
        }))
    }

    /// How many connections to a server are idle, including those that the server has closed since.
    pub fn idle(&self, server: &Server) -> usize {
        self.0
            .connections
            .lock()
            .by_server
            .get(server)
            .map_or(0, Vec::len)
    }

    /// An idle connection that can be reused.
    pub(crate) fn take(&self, server: &Server) -> Option<Connection> {
        let now = Instant::now();
        // Dropped after the lock: closing wakes tasks.
        let mut unusable = Vec::new();
        let mut connections = self.0.connections.lock();
        let idle = connections.by_server.get_mut(server)?;
        // The most recently used first: its server will close it last.
        while let Some(IdleConnection { connection, until }) = idle.pop() {
            if now < until && connection.is_reusable() {
                return Some(connection);
            }
            unusable.push(connection);
        }
        None
    }

    /// Closes the connection that has been idle for the longest time, of all servers. Returns whether there was one.
    pub(crate) fn close_longest_idle(&self) -> bool {
        let connection = {
            let mut connections = self.0.connections.lock();
            let first = |idle: &&mut Vec<IdleConnection>| idle.first().map(|it| it.until);
            let all = connections
                .by_server
                .values_mut()
                .filter(|idle| !idle.is_empty());
            let Some(idle) = all.min_by_key(first) else {
                return false;
            };
            idle.remove(0).connection
        };
        // The task that drives the connection closes its socket only a moment later, and the lease is needed now.
        drop(connection.socket.take_lease());
        true
    }

    /// Keeps a connection for the next request, unless it is closed or there are too many.
    pub(crate) fn put(&self, server: &Server, connection: Connection) {
        if connection.sender.is_closed() || self.0.options.idle == 0 {
            return;
        }
        let until = Instant::now() + self.0.options.idle_time.min(LONGEST_IDLE);
        let mut connections = self.0.connections.lock();
        let idle = match connections.by_server.get_mut(server) {
            Some(idle) => idle,
            None => connections.by_server.entry(server.clone()).or_default(),
        };
        if idle.len() >= self.0.options.idle {
            return;
        }
        idle.push(IdleConnection { connection, until });
        if !connections.has_expiry_task {
            connections.has_expiry_task = true;
            tokio::spawn(expire_idle(Arc::downgrade(&self.0), until));
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

impl SharedPool {
    /// Closes what has been idle for too long. Returns when to do so again; `None` if nothing is idle.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let mut expired = Vec::new();
        let next = {
            let mut connections = self.connections.lock();
            connections.by_server.retain(|_, idle| {
                let count = idle
                    .iter()
                    .take_while(|it| it.until <= now || it.connection.sender.is_closed())
                    .count();
                expired.extend(idle.drain(..count));
                !idle.is_empty()
            });
            let next = connections
                .by_server
                .values()
                .flatten()
                .map(|it| it.until)
                .min();
            connections.has_expiry_task = next.is_some();
            next
        };
        drop(expired);
        next
    }
}

async fn expire_idle(pool: Weak<SharedPool>, mut next: Instant) {
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
            .max_buf_size(CONNECTION_BUFFER)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| ProxyError::of_sending(&error))?;
        tokio::spawn(async move {
            // The request in progress, if there is one, fails with the same error, and logs it with its meaning.
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!("connection to an upstream server failed: {error}");
            }
        });
        Ok(Self { sender, socket })
    }

    /// Whether it can take a request. Against response smuggling, a connection on which bytes have come before a
    /// request is not reused: they would be read as the response to it.
    fn is_reusable(&self) -> bool {
        self.sender.is_ready() && self.socket.is_quiet()
    }
}
