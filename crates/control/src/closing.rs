//! Closes connections without losing the answer: a close with unread data would reset the connection, and the client
//! could lose an answer that it has not read yet.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::Limits;
use crate::answer::{self, Failure};

/// How much is discarded, as a multiple of the limit of a body.
const DISCARDED: usize = 4;

/// How long a refused connection lingers.
const REFUSAL: Duration = Duration::from_secs(1);

/// Bytes per read.
const PIECE: usize = 16 << 10;

/// Shuts the sending side down, and discards what the client still sends until it closes: for `linger` at most, and as
/// much as the limits allow.
pub(crate) async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    linger: Duration,
    limits: &Limits,
) {
    let budget = limits.body_size.saturating_mul(DISCARDED);
    // Errors and the timeout just end it.
    let _ = timeout(linger, drain(&mut stream, budget)).await;
}

/// Answers a connection over the limit with 503, without parsing its request.
pub(crate) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, limit: usize) {
    let refusal = async {
        // Not before the request arrives: hyper's client treats an early answer as an error.
        if stream.read(&mut vec![0; PIECE]).await? == 0 {
            return Ok(());
        }
        let failure = Failure::TooManyConnections { limit };
        stream.write_all(answer::raw(&failure).as_bytes()).await?;
        drain(&mut stream, usize::MAX).await
    };
    let _ = timeout(REFUSAL, refusal).await;
}

async fn drain<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    mut budget: usize,
) -> io::Result<()> {
    stream.shutdown().await?;
    let mut piece = vec![0; PIECE];
    while budget > 0 {
        match stream.read(&mut piece).await? {
            0 => break,
            length => budget = budget.saturating_sub(length),
        }
    }
    Ok(())
}
