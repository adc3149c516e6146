use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::{ResponseBody, Timeouts};

/// Bytes that one direction holds, besides what the kernel has.
const BUFFER: usize = 16 * 1024;

/// The connections of a client and a server that have agreed to speak another protocol. Dropped, it
/// closes both.
#[derive(Debug)]
pub struct Tunnel {
    client: OnUpgrade,
    server: OnUpgrade,
    timeouts: Timeouts,
}

/// Why a tunnel was closed before both sides had ended.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The client's or the server's connection did not become one of the other protocol. So it is
    /// where whoever serves the client's connection has not enabled upgrades.
    #[error("a connection was not switched: {0}")]
    NotSwitched(hyper::Error),
    /// A connection failed.
    #[error("a connection failed: {0}")]
    Failed(io::Error),
    /// Nothing moved for [`Timeouts::tunnel`], or for [`Timeouts::half_closed_tunnel`] after one side had ended.
    #[error("nothing has moved for {} seconds", .0.as_secs())]
    Idle(Duration),
}

/// Takes the tunnel of a response of 101. The response has to be sent to the client then, by a hyper
/// connection with upgrades enabled, and the tunnel be run meanwhile, in a task of its own, which may
/// be tracked, or aborted to end the tunnel. Without upgrades enabled, it is run when hyper is done with the
/// connection, [with](Tunnel::run_with) that.
///
/// `None` for all other responses, and the second time. A response whose tunnel nobody takes closes the
/// server's connection when it is dropped.
pub fn tunnel(response: &mut Response<ResponseBody>) -> Option<Tunnel> {
    response.body_mut().take_tunnel()
}

impl Tunnel {
    pub(crate) fn new(client: OnUpgrade, server: OnUpgrade, timeouts: Timeouts) -> Self {
        Self {
            client,
            server,
            timeouts,
        }
    }

    /// Carries bytes both ways until both sides have ended. One that ends first is still sent to: its
    /// end is passed on as an end. At most 16 KiB are held for each direction; who does not read is
    /// not sent to, nor is the other one read from.
    ///
    /// Returns how many bytes went to the server and to the client.
    ///
    /// # Errors
    ///
    /// When either connection fails, or nothing moves for too long. Then both are closed.
    ///
    /// # Cancel safety
    ///
    /// None. When it is dropped, both connections are closed.
    pub async fn run(self) -> Result<(u64, u64), TunnelError> {
        let (client, server) =
            tokio::try_join!(self.client, self.server).map_err(TunnelError::NotSwitched)?;
        let (client, server) = (TokioIo::new(client), TokioIo::new(server));
        Self::carry_both(client, server, &self.timeouts).await
    }

    /// The same with the client's connection, for a caller that has it back from hyper.
    ///
    /// # Errors
    ///
    /// As [`Tunnel::run`].
    ///
    /// # Cancel safety
    ///
    /// None. When it is dropped, both connections are closed.
    pub async fn run_with(
        self,
        client: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<(u64, u64), TunnelError> {
        let server = self.server.await.map_err(TunnelError::NotSwitched)?;
        Self::carry_both(client, TokioIo::new(server), &self.timeouts).await
    }

    async fn carry_both(
        client: impl AsyncRead + AsyncWrite + Unpin,
        server: impl AsyncRead + AsyncWrite + Unpin,
        timeouts: &Timeouts,
    ) -> Result<(u64, u64), TunnelError> {
        let (from_client, to_client) = split(client);
        let (from_server, to_server) = split(server);
        let moved = Moved::new();
        let both = async {
            tokio::try_join!(
                carry(from_client, to_server, &moved),
                carry(from_server, to_client, &moved),
            )
        };
        tokio::select! {
            biased;
            carried = both => carried.map_err(TunnelError::Failed),
            limit = moved.rest(timeouts) => Err(TunnelError::Idle(limit)),
        }
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &Moved,
) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut sum = 0;
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            moved.end();
            to.shutdown().await?;
            return Ok(sum);
        }
        moved.note();
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        moved.note();
        sum += length as u64;
    }
}

/// When something last moved.
struct Moved {
    start: Instant,
    /// Milliseconds since.
    last: AtomicU64,
    has_ended: AtomicBool,
    /// Wakes the one that waits when a side ends.
    ended: Notify,
}

impl Moved {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    fn note(&self) {
        let now = self.start.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// One side has ended.
    fn end(&self) {
        self.note();
        self.has_ended.store(true, Ordering::Relaxed);
        self.ended.notify_one();
    }

    /// Ends when nothing has moved for too long, and returns the limit.
    async fn rest(&self, timeouts: &Timeouts) -> Duration {
        loop {
            let limit = if self.has_ended.load(Ordering::Relaxed) {
                timeouts.half_closed_tunnel.min(timeouts.tunnel)
            } else {
                timeouts.tunnel
            };
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let moved = last.saturating_add(limit);
            let now = self.start.elapsed();
            if moved <= now {
                return limit;
            }
            _ = timeout(moved - now, self.ended.notified()).await;
        }
    }
}
