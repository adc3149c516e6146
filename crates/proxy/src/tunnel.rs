//! Tunnels: two connections after an upgrade (WebSocket), and how long they may be idle.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::timeouts::Timeouts;

/// Bytes that are buffered for one direction, besides what the kernel has.
const BUFFER: usize = 16 * 1024;

/// The connections of a client and a server that have switched to another protocol. Dropping it closes both.
#[derive(Debug)]
pub struct Tunnel {
    client: OnUpgrade,
    server: OnUpgrade,
    timeouts: Timeouts,
}

/// Why a tunnel was closed before both sides had ended.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// hyper did not hand over the client's or the server's connection. For the client's, upgrades have to be enabled
    /// on the hyper connection that serves it.
    #[error("a connection was not upgraded: {0}")]
    NotSwitched(hyper::Error),
    /// A connection failed.
    #[error("a connection failed: {0}")]
    Failed(io::Error),
    /// There was no data for [`Timeouts::tunnel`], or for [`Timeouts::half_closed_tunnel`] after one side had ended.
    #[error("no data in either direction for {} seconds", .0.as_secs())]
    Idle(Duration),
}

impl Tunnel {
    pub(crate) fn new(client: OnUpgrade, server: OnUpgrade, timeouts: Timeouts) -> Self {
        Self {
            client,
            server,
            timeouts,
        }
    }

    /// Copies bytes in both directions until both sides have ended. A side that ends first is passed on as a
    /// half-close, and still sent to. At most 16 KiB are buffered for each direction; after that there is
    /// back-pressure: a side is not read from while the other one does not read.
    ///
    /// Returns how many bytes went to the server and to the client.
    ///
    /// # Errors
    ///
    /// When either connection fails, or there is no data for too long. Then both are closed.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: dropping the future closes both connections.
    pub async fn run(self) -> Result<(u64, u64), TunnelError> {
        let (client, server) =
            tokio::try_join!(self.client, self.server).map_err(TunnelError::NotSwitched)?;
        let (client, server) = (TokioIo::new(client), TokioIo::new(server));
        Self::copy_both(client, server, &self.timeouts).await
    }

    /// As [`Tunnel::run`], for a caller that drives hyper without upgrades and has got the client's connection back.
    ///
    /// # Errors
    ///
    /// As [`Tunnel::run`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: dropping the future closes both connections.
    pub async fn run_with(
        self,
        client: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<(u64, u64), TunnelError> {
        let server = self.server.await.map_err(TunnelError::NotSwitched)?;
        Self::copy_both(client, TokioIo::new(server), &self.timeouts).await
    }

    async fn copy_both(
        client: impl AsyncRead + AsyncWrite + Unpin,
        server: impl AsyncRead + AsyncWrite + Unpin,
        timeouts: &Timeouts,
    ) -> Result<(u64, u64), TunnelError> {
        let (from_client, to_client) = split(client);
        let (from_server, to_server) = split(server);
        let activity = Activity::new();
        let both = async {
            tokio::try_join!(
                copy(from_client, to_server, &activity),
                copy(from_server, to_client, &activity),
            )
        };
        tokio::select! {
            biased;
            copied = both => copied.map_err(TunnelError::Failed),
            limit = activity.wait_idle(timeouts) => Err(TunnelError::Idle(limit)),
        }
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    activity: &Activity,
) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut sum = 0;
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            activity.record_end();
            to.shutdown().await?;
            return Ok(sum);
        }
        activity.record();
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        activity.record();
        sum += length as u64;
    }
}

/// When there was last data in either direction.
struct Activity {
    start: Instant,
    /// In milliseconds after `start`.
    last: AtomicU64,
    has_ended: AtomicBool,
    /// Wakes `wait_idle`, since the limit is another one from then on.
    ended: Notify,
}

impl Activity {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    fn record(&self) {
        let now = self.start.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// One side has ended.
    fn record_end(&self) {
        self.record();
        self.has_ended.store(true, Ordering::Relaxed);
        self.ended.notify_one();
    }

    /// Waits until there has been no data for too long. Returns the limit.
    async fn wait_idle(&self, timeouts: &Timeouts) -> Duration {
        loop {
            let limit = if self.has_ended.load(Ordering::Relaxed) {
                timeouts.half_closed_tunnel.min(timeouts.tunnel)
            } else {
                timeouts.tunnel
            };
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let idle_at = last.saturating_add(limit);
            let now = self.start.elapsed();
            if idle_at <= now {
                return limit;
            }
            _ = timeout(idle_at - now, self.ended.notified()).await;
        }
    }
}
