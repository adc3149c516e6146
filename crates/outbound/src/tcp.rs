//! TCP connections to one of several addresses ("happy eyeballs", RFC 8305). `resolve` decides which addresses.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// For all addresses of one family together. Each gets an equal share, so that one that drops packets does not keep the
/// others from being tried.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the first family of addresses is tried by itself (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(300);

/// Connects to one of these addresses: of the first one's family they are tried one after the other, and
/// those of the other family after them, or beside them where they take longer than [`HEAD_START`]. For that
/// another permit is needed: each socket has one for as long as it is open. Without, the other family waits.
///
/// Cancel safe: dropped, it closes its sockets before it gives back their permits.
///
/// # Errors
///
/// Those of the addresses that were tried last.
pub(crate) async fn connect<P>(
    addresses: Vec<SocketAddr>,
    permit: P,
    another: impl FnOnce() -> Option<P>,
) -> io::Result<(TcpStream, P)> {
    let is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == is_ipv6);
    if others.is_empty() {
        return Ok((one_of(&preferred).await?, permit));
    }
    let mut first = pin!(one_of(&preferred));
    match timeout(HEAD_START, &mut first).await {
        Ok(Ok(stream)) => return Ok((stream, permit)),
        Ok(Err(_)) => return Ok((one_of(&others).await?, permit)),
        Err(_) => {}
    }
    let Some(another) = another() else {
        return match first.await {
            Ok(stream) => Ok((stream, permit)),
            Err(_) => Ok((one_of(&others).await?, permit)),
        };
    };
    // The permits stay here: what is awaited is dropped before them, with its socket.
    let (stream, is_second) = beside(first, one_of(&others)).await?;
    Ok((stream, if is_second { another } else { permit }))
}

/// Whichever of both connects first, and whether that is the second.
async fn beside(
    mut first: Pin<&mut impl Future<Output = io::Result<TcpStream>>>,
    second: impl Future<Output = io::Result<TcpStream>>,
) -> io::Result<(TcpStream, bool)> {
    let mut second = pin!(second);
    tokio::select! {
        connected = &mut first => match connected {
            Ok(stream) => Ok((stream, false)),
            Err(_) => Ok((second.await?, true)),
        },
        connected = &mut second => match connected {
            Ok(stream) => Ok((stream, true)),
            Err(_) => Ok((first.await?, false)),
        },
    }
}

/// Tries one address after the other.
///
/// # Errors
///
/// That of the first one.
async fn one_of(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let each = TIMEOUT / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut first_error = None;
    for address in addresses {
        let error = match timeout(each, open(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(elapsed) => io::Error::new(io::ErrorKind::TimedOut, elapsed),
        };
        first_error.get_or_insert(error);
    }
    Err(first_error.unwrap_or_else(|| io::ErrorKind::NotConnected.into()))
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Nagle's algorithm would delay a small request until the previous one is acknowledged.
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use tokio::net::{TcpListener, TcpSocket};
    use tokio::sync::{OwnedSemaphorePermit, Semaphore};

    use super::*;

    /// A listener that takes no more connections, so that one that is begun hears nothing.
    struct Silent {
        listener: TcpListener,
        _waiting: Vec<TcpStream>,
    }

    impl Silent {
        async fn start() -> Self {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let listener = socket.listen(1).unwrap();
            let mut waiting = Vec::new();
            while let Ok(Ok(stream)) = timeout(
                Duration::from_millis(200),
                TcpStream::connect(listener.local_addr().unwrap()),
            )
            .await
            {
                waiting.push(stream);
            }
            Self {
                listener,
                _waiting: waiting,
            }
        }

        fn address(&self) -> SocketAddr {
            self.listener.local_addr().unwrap()
        }
    }

    /// Listens on the loopback address of IPv6, which a machine may be without.
    async fn answering() -> Option<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind("[::1]:0").await.ok()?;
        let address = listener.local_addr().unwrap();
        Some((listener, address))
    }

    fn permits(count: usize) -> (Arc<Semaphore>, impl Fn() -> Option<OwnedSemaphorePermit>) {
        let permits = Arc::new(Semaphore::new(count));
        let all = Arc::clone(&permits);
        (permits, move || Arc::clone(&all).try_acquire_owned().ok())
    }

    #[tokio::test]
    async fn a_second_socket_beside_the_first_has_a_permit_of_its_own() {
        let Some((_listener, answering)) = answering().await else {
            return;
        };
        let silent = Silent::start().await;
        let (permits, permit) = permits(2);
        let mut left = None;
        let connecting = connect(vec![silent.address(), answering], permit().unwrap(), || {
            let another = permit();
            left = Some(permits.available_permits());
            another
        });
        let (stream, held) = connecting.await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), answering);
        assert_eq!(left, Some(0));
        // That of the first, which is closed.
        assert_eq!(permits.available_permits(), 1);
        drop((stream, held));
        assert_eq!(permits.available_permits(), 2);
    }

    #[tokio::test]
    async fn without_another_permit_no_second_socket_is_opened_beside_the_first() {
        let Some((listener, answering)) = answering().await else {
            return;
        };
        let silent = Silent::start().await;
        let (permits, permit) = permits(1);
        let connecting = connect(vec![silent.address(), answering], permit().unwrap(), permit);
        assert!(timeout(HEAD_START * 3, connecting).await.is_err());
        assert!(timeout(HEAD_START, listener.accept()).await.is_err());
        assert_eq!(permits.available_permits(), 1);
    }

    #[tokio::test]
    async fn every_address_is_tried_with_one_permit() {
        let Some((_listener, answering)) = answering().await else {
            return;
        };
        let closed = |address: &str| {
            let listener = std::net::TcpListener::bind(address).unwrap();
            listener.local_addr().unwrap()
        };
        let (v4, v6) = (closed("127.0.0.1:0"), closed("[::1]:0"));
        let none = || -> Option<()> { None };
        for addresses in [
            vec![v4, answering],
            vec![v4, v6, answering],
            vec![v6, v4, answering],
            vec![v6, answering],
        ] {
            let (stream, ()) = connect(addresses, (), none).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), answering);
        }
        let error = connect(vec![v4, v6], (), none).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
