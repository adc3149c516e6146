//! Which request does what.

use bytes::Bytes;
use config::{Path, Value};
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::answer::{Failure, Outcome, Success, response};
use crate::control::blocking;
use crate::{Control, Runtime, body, metrics};

impl<R: Runtime> Control<R> {
    /// Answers one request.
    pub(crate) async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (method, target) = (request.method().clone(), request.uri().path().to_owned());
        let outcome = self.answer(request).await;
        let response = response(&outcome);
        match &outcome {
            Ok(_) => tracing::debug!(%method, target, "control request"),
            Err(failure) if response.status().is_server_error() => {
                tracing::error!(%method, target, %failure, "control request failed");
            }
            Err(failure) => tracing::info!(%method, target, %failure, "control request refused"),
        }
        response
    }

    async fn answer(&self, request: Request<Incoming>) -> Outcome {
        let (head, body) = request.into_parts();
        // The whole request first, as in Unit: whoever is refused has sent it
        // all, and reads the answer.
        let limits = self.limits();
        let body = body::read(&head.headers, body, limits.body_size, limits.body_read).await?;
        let path = Path::parse(head.uri.path())?;
        let segments: Vec<_> = path.segments().iter().map(String::as_str).collect();
        match segments.as_slice() {
            [] if head.method == Method::GET => {
                let config = Value::clone(&self.config());
                let members = [
                    ("certificates", self.certificates()),
                    ("config", config),
                    ("status", self.status().to_value()),
                ];
                Ok(Success::Value(members.into_iter().collect()))
            }
            ["status", "metrics"] if head.method == Method::GET => {
                Ok(Success::Metrics(metrics::text(&self.status())))
            }
            ["status", rest @ ..] if head.method == Method::GET => {
                let status = self.status().to_value();
                let found = status.at(&rest.iter().copied().collect());
                found.cloned().map(Success::Value).ok_or(Failure::NoStatus)
            }
            [] | ["status", ..] => Err(Failure::InvalidMethod { allowed: "GET" }),
            ["certificates", rest @ ..] => {
                self.certificates_request(&head.method, &head.headers, rest, body)
                    .await
            }
            ["config", rest @ ..] => {
                self.config_request(&head.method, rest.iter().copied().collect(), body)
                    .await
            }
            ["control", _, ..] if head.method != Method::GET => {
                Err(Failure::NotAllowed { allowed: "GET" })
            }
            ["control", "applications", name, "restart"] => self.restart((*name).to_owned()).await,
            _ => Err(Failure::NotFound),
        }
    }

    async fn config_request(&self, method: &Method, path: Path, body: Vec<u8>) -> Outcome {
        match *method {
            Method::GET => {
                let found = self.config().at(&path).cloned();
                found.map(Success::Value).ok_or(Failure::NotFound)
            }
            Method::PUT => {
                let value = blocking(move || config::parse(&body)).await?;
                self.change(move |root| config::put(root, &path, value))
                    .await
            }
            Method::POST if !path.is_root() => {
                let value = blocking(move || config::parse(&body)).await?;
                self.change(move |root| config::append(root, &path, value))
                    .await
            }
            Method::DELETE => self.change(move |root| config::delete(root, &path)).await,
            _ if path.is_root() => Err(Failure::NotAllowed {
                allowed: "GET, PUT, DELETE",
            }),
            _ => Err(Failure::NotAllowed {
                allowed: "GET, PUT, POST, DELETE",
            }),
        }
    }
}
