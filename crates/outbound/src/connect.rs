//! Opens one connection: limit, policy, addresses, TCP, TLS. Connections are pooled by `client`.

use std::future::{Future, Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use outbound_policy::{Destination, Host, Policy, Scheme};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::BoxError;
use crate::error::ConnectFault;
use crate::limits::{ConnectionLimit, ConnectionPermit};
use crate::resolve::Resolver;
use crate::timeouts::LONGEST_CONNECT;
use crate::tls::Tls;
use crate::{resolve, tcp};

/// Opens connections, to allowed destinations and addresses only.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    policy: Policy,
    tls: Tls,
    lookups: Arc<Semaphore>,
    connections: ConnectionLimit,
}

impl Connector {
    pub(crate) fn new(policy: Policy, tls: Tls, connections: ConnectionLimit) -> Self {
        Self {
            policy,
            tls,
            lookups: resolve::lookups(),
            connections,
        }
    }

    async fn connect(self, uri: Uri) -> Result<CountedConnection, BoxError> {
        let permit = self.connections.try_acquire().ok_or(ConnectFault::Limit)?;
        let destination = Destination::of(&uri)?;
        let scheme = destination.scheme();
        let addresses = Self::addresses(self.policy, destination, self.lookups).await?;
        let another = || self.connections.try_acquire();
        let (tcp, permit) = tcp::connect(addresses, permit, another).await?;
        let tcp = TokioIo::new(tcp);
        let io = match scheme {
            Scheme::Http => MaybeHttpsStream::Http(tcp),
            Scheme::Https => {
                let config = self.tls.config().await?;
                let connected = OverTcp(Some(tcp));
                HttpsConnector::from((connected, config)).call(uri).await?
            }
        };
        Ok(CountedConnection {
            io,
            _permit: permit,
        })
    }

    /// The addresses that the policy allows, at least one.
    async fn addresses(
        policy: Policy,
        destination: Destination,
        lookups: Arc<Semaphore>,
    ) -> Result<Vec<SocketAddr>, ConnectFault> {
        let port = destination.port();
        let name = match destination.host() {
            // An address is not resolved.
            Host::Address(address) if policy.allows_address(&destination, *address) => {
                return Ok(vec![SocketAddr::new(*address, port)]);
            }
            host @ Host::Address(_) => return Err(ConnectFault::Prohibited(host.to_string())),
            Host::Name(name) => name.clone(),
        };
        let resolver = Resolver {
            policy,
            destination,
            lookups,
        };
        let mut addresses = resolver.resolve(name).await?;
        for address in &mut addresses {
            address.set_port(port);
        }
        Ok(addresses)
    }
}

/// The established TCP connection that TLS is to use, as the connector that hyper-rustls expects.
struct OverTcp(Option<TokioIo<TcpStream>>);

impl Service<Uri> for OverTcp {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        // It is called once.
        ready(
            self.0
                .take()
                .ok_or_else(|| io::ErrorKind::NotConnected.into()),
        )
    }
}

impl Service<Uri> for Connector {
    type Response = CountedConnection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<CountedConnection, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.clone().connect(uri);
        Box::pin(async {
            // The request that it was opened for may have got another connection meanwhile, and not wait for it.
            match tokio::time::timeout(LONGEST_CONNECT, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(ConnectFault::Timeout.into()),
            }
        })
    }
}

/// A connection that counts towards the limit until it is closed.
#[derive(Debug)]
pub(crate) struct CountedConnection {
    io: MaybeHttpsStream<TokioIo<TcpStream>>,
    _permit: ConnectionPermit,
}

impl Connection for CountedConnection {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

impl Read for CountedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for CountedConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
