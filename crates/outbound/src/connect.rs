use std::any::Any;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use outbound_policy::{Destination, Host, Policy, Scheme};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use crate::BoxError;
use crate::client::ConnectionBudget;
use crate::error::Fault;
use crate::resolve::{self, Resolver};
use crate::timeouts::LONGEST_CONNECT;
use crate::tls::Tls;

/// For TCP, spread over a name's addresses, so that the first one that swallows packets does not
/// keep the others from being tried.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);

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
        // The resolver is not asked about an address.
        if let Host::Address(address) = destination.host()
            && !self.policy.allows_address(&destination, *address)
        {
            return Err(Fault::Prohibited(destination.host().to_string()).into());
        }
        let scheme = destination.scheme();
        let mut tcp = HttpConnector::new_with_resolver(Resolver {
            policy: self.policy,
            destination,
            lookups: self.lookups,
        });
        tcp.enforce_http(false);
        // Small requests are not to wait for the acknowledgement of what went before.
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(TCP_TIMEOUT));
        let io = match scheme {
            Scheme::Http => MaybeHttpsStream::Http(tcp.call(uri).await?),
            Scheme::Https => {
                let config = self.tls.config().await?;
                HttpsConnector::from((tcp, config)).call(uri).await?
            }
        };
        Ok(Counted {
            io,
            _permit: permit,
        })
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
