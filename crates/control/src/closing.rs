//! The ends of connections: a lingering close, since to close one while its client still sends could take the answer
//! along.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::Limits;
use crate::answer::{self, Failure};

/// How many limits' worth of a body are thrown away.
const DISCARDED: usize = 4;

/// For how long a client is read that is refused with its connection.
const REFUSAL: Duration = Duration::from_secs(1);

/// Bytes that are read at a time.
const PIECE: usize = 16 << 10;

/// Ends the sending side of a connection with a client that has its answer, and throws away what still
/// comes until the client closes, for as long as `linger` and as much as the limits allow.
pub(crate) async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    linger: Duration,
    limits: &Limits,
) {
    let budget = limits.body_size.saturating_mul(DISCARDED);
    // A client that has gone, or that goes on and on, gets no more.
    let _ = timeout(linger, drain(&mut stream, budget)).await;
}

/// Answers a connection for which there is no place with 503, whatever it asks for.
pub(crate) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, limit: usize) {
    let refusal = async {
        // hyper's client takes an answer that is there before its request for an error.
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
