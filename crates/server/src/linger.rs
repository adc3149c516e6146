//! Closes a connection in a way that lets the client read the last response, though bytes of it have
//! not been read: to close the socket then would reset it (RFC 9112, section 9.6).

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{sleep, timeout};

use crate::io::ClientIo;
use crate::listener::Closing;
use crate::socket;

/// How long a client that has its last response may send nothing before its connection is closed.
pub(crate) const MAX_SILENCE: Duration = Duration::from_secs(2);

/// How long it may go on sending.
const MAX_TIME: Duration = Duration::from_secs(30);

/// Bytes that are discarded of it.
pub(crate) const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Read at a time.
const PIECE: usize = 64 * 1024;

/// Pieces after which other tasks have their turn.
const PIECES_A_TURN: u32 = 16;

/// Shuts the sending side down, then reads and discards until the client closes the connection, or
/// for too long. When the listener closes, it has [`MAX_SILENCE`] for that.
pub(crate) async fn linger(mut io: ClientIo, closing: &mut Closing) {
    // One that is reset has no orderly end.
    if io.is_reset() || io.shutdown().await.is_err() {
        return;
    }
    let closes = async {
        closing.wait().await;
        sleep(MAX_SILENCE).await;
    };
    tokio::select! {
        biased;
        // Whatever ends it, there is nothing more to be done for this client.
        _ = timeout(MAX_TIME, discard(io.stream())) => {}
        () = closes => {}
    }
}

async fn discard(stream: &socket::Stream) -> io::Result<()> {
    let mut left = MAX_BYTES;
    while left > 0 {
        timeout(MAX_SILENCE, stream.readable()).await??;
        match discard_turn(stream, &mut left) {
            Ok(true) => return Ok(()),
            Ok(false) => tokio::task::yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads what is there, and returns whether that was the end. The buffer is not kept during a wait.
fn discard_turn(stream: &socket::Stream, left: &mut u64) -> io::Result<bool> {
    let mut piece = BytesMut::with_capacity(PIECE);
    for _ in 0..PIECES_A_TURN {
        piece.clear();
        let length = stream.try_read_buf(&mut piece)?;
        if length == 0 {
            return Ok(true);
        }
        *left = left.saturating_sub(length as u64);
    }
    Ok(false)
}
