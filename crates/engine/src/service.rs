//! An application as a service of hyper or tower: every request gets a response. Connections are the caller's part.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use http_message::{FlushFirst, error_page};

use crate::response::body::Body;
use crate::sandbox::request::RequestBodyError;
use crate::{Answer, Application, Failure, RequestId};

/// An [`Application`] as a service: [`hyper::service::Service`] for hyper's servers, [`tower_service::Service`]
/// for tower and what is built on it. Made by [`Application::service`].
///
/// Requests are handled by [`Application::handle`], with a new [`RequestId`]. A [`Failure`] becomes the
/// response of [`Failure::answer`], so that the service itself never fails. A body that is cut off ends in an
/// error, at which hyper closes the connection or resets the stream.
///
/// Always ready: requests beyond the limits wait within the future of their response, or get 503.
#[derive(Clone, Debug)]
pub struct ApplicationService(Application);

/// The body of a response of [`ApplicationService`]: that of the guest, or an error page.
type ServiceBody = Either<FlushFirst<Body>, Full<Bytes>>;

/// The future of a response of [`ApplicationService`].
type ServiceFuture =
    Pin<Box<dyn Future<Output = Result<Response<ServiceBody>, Infallible>> + Send>>;

impl Application {
    /// The application as a service of hyper or tower.
    #[must_use]
    pub fn service(&self) -> ApplicationService {
        ApplicationService(self.clone())
    }
}

impl ApplicationService {
    fn respond<B>(&self, request: Request<B>) -> ServiceFuture
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let application = self.0.clone();
        Box::pin(async move {
            let response = application.handle(RequestId::next(), request).await;
            Ok(match response {
                Ok(response) => response.map(FlushFirst::new).map(Either::Left),
                Err(failure) => page(&failure),
            })
        })
    }
}

fn page(failure: &Failure) -> Response<ServiceBody> {
    let Answer {
        status,
        retry_after,
    } = failure.answer();
    error_page(status, retry_after).map(|page| Either::Right(Full::new(page)))
}

impl<B> hyper::service::Service<Request<B>> for ApplicationService
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<RequestBodyError>,
{
    type Response = Response<ServiceBody>;
    type Error = Infallible;
    type Future = ServiceFuture;

    fn call(&self, request: Request<B>) -> ServiceFuture {
        self.respond(request)
    }
}

impl<B> tower_service::Service<Request<B>> for ApplicationService
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<RequestBodyError>,
{
    type Response = Response<ServiceBody>;
    type Error = Infallible;
    type Future = ServiceFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ServiceFuture {
        self.respond(request)
    }
}
