use std::any::Any;
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use crate::BoxError;
use crate::client::ConnectionBudget;
use crate::error::Fault;
use crate::resolve::Resolver;
use crate::timeouts::LONGEST_CONNECT;
use crate::tls::Tls;
use crate::{resolve, tcp};

/// Opens connections to where the policy allows.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    policy: Policy,
    tls: Tls,
    lookups: Arc<Semaphore>,
    connections: ConnectionLimit,
}

/// How many connections may be open.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimit {
    own: Arc<Semaphore>,
    shared: Option<Arc<dyn ConnectionBudget>>,
}

/// The right to one.
#[derive(Debug)]
struct ConnectionPermit {
    _own: OwnedSemaphorePermit,
    _shared: Option<Box<dyn Any + Send + Sync>>,
}

impl ConnectionLimit {
    pub(crate) fn new(own: usize, shared: Option<Arc<dyn ConnectionBudget>>) -> Self {
        let own = Arc::new(Semaphore::new(own.min(Semaphore::MAX_PERMITS)));
        Self { own, shared }
    }

    fn try_acquire(&self) -> Option<ConnectionPermit> {
        let own = Arc::clone(&self.own).try_acquire_owned().ok()?;
        let shared = match &self.shared {
            Some(budget) => Some(Arc::clone(budget).try_acquire()?),
            None => None,
        };
        Some(ConnectionPermit {
            _own: own,
            _shared: shared,
        })
    }
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

    async fn connect(self, uri: Uri) -> Result<Counted, BoxError> {
        let permit = self.connections.try_acquire().ok_or(Fault::Limit)?;
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
        Ok(Counted {
            io,
            _permit: permit,
        })
    }

    /// Those that the policy allows; at least one.
    async fn addresses(
        policy: Policy,
        destination: Destination,
        lookups: Arc<Semaphore>,
    ) -> Result<Vec<SocketAddr>, Fault> {
        let port = destination.port();
        let name = match destination.host() {
            // The resolver is not asked about an address.
            Host::Address(address) if policy.allows_address(&destination, *address) => {
                return Ok(vec![SocketAddr::new(*address, port)]);
            }
            host @ Host::Address(_) => return Err(Fault::Prohibited(host.to_string())),
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

/// What TLS is to go over: a connection that is there.
struct OverTcp(Option<TokioIo<TcpStream>>);

impl Service<Uri> for OverTcp {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        // It is asked once.
        ready(
            self.0
                .take()
                .ok_or_else(|| io::ErrorKind::NotConnected.into()),
        )
    }
}

impl Service<Uri> for Connector {
    type Response = Counted;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Counted, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.clone().connect(uri);
        Box::pin(async {
            // The request that it was begun for may by now have another connection.
            match tokio::time::timeout(LONGEST_CONNECT, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(Fault::Timeout.into()),
            }
        })
    }
}

/// A connection, which counts as long as it is open.
#[derive(Debug)]
pub(crate) struct Counted {
    io: MaybeHttpsStream<TokioIo<TcpStream>>,
    _permit: ConnectionPermit,
}

impl Connection for Counted {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

impl Read for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Counted {
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
