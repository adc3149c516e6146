//! Which request does what.

use std::borrow::Cow;

use bytes::Bytes;
use config::{Path, Value};
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::answer::{Failure, Outcome, Success, reads_only_texts, response, response_of_texts};
use crate::body::RequestBody;
use crate::line::Arrival;
use crate::report::report;
use crate::{Control, Runtime};

impl<R: Runtime> Control<R> {
    /// Answers one request.
    pub(crate) async fn respond(
        &self,
        request: Request<Incoming>,
        arrival: Arrival,
    ) -> Response<Full<Bytes>> {
        let origin = arrival.origin();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let texts_only = reads_only_texts(request.headers());
        let outcome = self.answer(request, arrival).await;
        let (method, path) = (shortened(method.as_str()), shortened(&path));
        match &outcome {
            Ok(_) => tracing::debug!(%method, %path, "control request"),
            Err(failure) if failure.is_severe() => {
                report!(error, origin, %method, %path, %failure, "control request failed");
            }
            Err(failure) => {
                report!(info, origin, %method, %path, %failure, "control request refused");
            }
        }
        if texts_only {
            return response_of_texts(outcome);
        }
        response(outcome)
    }

    async fn answer(&self, request: Request<Incoming>, arrival: Arrival) -> Outcome {
        let (head, incoming) = request.into_parts();
        let path = Path::parse(head.uri.path())?;
        let segments: Vec<_> = path.segments().iter().map(String::as_str).collect();
        let body = RequestBody {
            incoming,
            limits: self.limits(),
            quota: self.quotas().of(arrival.origin()),
            stopping: self.stopping(),
        };
        match segments.as_slice() {
            ["status", "live" | "ready"] if !matches!(head.method, Method::GET | Method::HEAD) => {
                Err(Failure::InvalidMethod {
                    allowed: "GET, HEAD",
                })
            }
            ["status", "live"] => {
                // It changes nothing, and must not delay changes while it waits.
                drop(arrival);
                Ok(Success::Health(self.runtime().health().live().await))
            }
            ["status", "ready"] => Ok(Success::Health(self.runtime().health().ready())),
            [] | ["status", ..] if head.method != Method::GET => {
                Err(Failure::InvalidMethod { allowed: "GET" })
            }
            [] => {
                self.render(arrival, |control| Ok(control.everything()))
                    .await
            }
            ["status", "metrics"] => {
                let metrics = |control: &Self| Success::Metrics(control.status().to_metrics());
                self.render(arrival, move |control| Ok(metrics(control)))
                    .await
            }
            ["status", rest @ ..] => {
                let path: Path = rest.iter().copied().collect();
                self.render(arrival, move |control| {
                    let status = control.status().to_value();
                    status
                        .at(&path)
                        .map(Success::value)
                        .ok_or(Failure::NoStatus)
                })
                .await
            }
            ["certificates", rest @ ..] => {
                self.certificates_request(&head.method, &head.headers, rest, body, arrival)
                    .await
            }
            ["config", rest @ ..] => {
                self.config_request(&head.method, rest.iter().copied().collect(), body, arrival)
                    .await
            }
            ["control", _, ..] if head.method != Method::GET => {
                Err(Failure::NotAllowed { allowed: "GET" })
            }
            ["control", "applications", name, "restart"] => {
                self.restart(arrival, (*name).to_owned()).await
            }
            _ => Err(Failure::NotFound),
        }
    }

    async fn config_request(
        &self,
        method: &Method,
        path: Path,
        body: RequestBody<'_>,
        arrival: Arrival,
    ) -> Outcome {
        if matches!(*method, Method::PUT | Method::POST | Method::DELETE) {
            self.require_changeable()?;
        }
        match *method {
            Method::GET => {
                self.render(arrival, move |control| {
                    let config = control.config();
                    config
                        .at(&path)
                        .map(Success::value)
                        .ok_or(Failure::NotFound)
                })
                .await
            }
            Method::PUT => {
                let body = body.read().await?;
                self.change(arrival, move |root| {
                    Ok(config::put(root, &path, config::parse(body.bytes())?)?)
                })
                .await
            }
            Method::POST if !path.is_root() => {
                let body = body.read().await?;
                self.change(arrival, move |root| {
                    Ok(config::append(root, &path, config::parse(body.bytes())?)?)
                })
                .await
            }
            Method::DELETE => {
                self.change(arrival, move |root| Ok(config::delete(root, &path)?))
                    .await
            }
            _ if path.is_root() => Err(Failure::NotAllowed {
                allowed: "GET, PUT, DELETE",
            }),
            _ => Err(Failure::NotAllowed {
                allowed: "GET, PUT, POST, DELETE",
            }),
        }
    }

    /// Renders an answer on other threads than those that serve clients, since it may be large. Drops the arrival,
    /// since the request changes nothing.
    pub(crate) async fn render(
        &self,
        arrival: Arrival,
        render: impl FnOnce(&Self) -> Outcome + Send + 'static,
    ) -> Outcome {
        let quota = self.quotas().of(arrival.origin());
        drop(arrival);
        let control = self.clone();
        quota.render(self.threads(), move || render(&control)).await
    }

    /// The value of `GET /`.
    fn everything(&self) -> Success {
        let config = Value::clone(&self.config());
        let members = [
            ("certificates", self.certificates()),
            ("config", config),
            ("status", self.status().to_value()),
        ];
        Success::value(&members.into_iter().collect())
    }
}

/// The beginning of a client's text, for the log.
fn shortened(text: &str) -> Cow<'_, str> {
    const ENOUGH: usize = 200;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}
