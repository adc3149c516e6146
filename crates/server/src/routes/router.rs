//! Finds out who answers a request.

use std::borrow::Cow;
use std::time::SystemTime;

use engine::Application;
use http::request::Parts;
use http::uri::{InvalidUri, PathAndQuery};
use http::{Response, StatusCode};
use proxy::Proxy;
use routing::{MAX_ACTIONS, Request, Target};
use static_files::NotServed;

use super::action::{self, Action, ActionKind, Share};
use super::metrics::Metrics;
use super::pass::Pass;
use super::table::{Steps, Table};
use crate::connection_info::Ends;
use crate::limits::ShareFiles;
use crate::request;
use crate::response::{Content, page};
use crate::variables::{Facts, Kept, Known};

/// Tells of a step of a request, at Unit's level between a warning and an information.
macro_rules! notice {
    ($facts:expr, $($message:tt)+) => {
        tracing::info!(target: "server::notice", request = %$facts.id, $($message)+)
    };
}
pub(crate) use notice;

/// What a request comes to.
pub(crate) enum Routed<'a> {
    /// Somebody else answers.
    To(Passed<'a>),
    /// It has its answer.
    Here(Response<Content>),
}

/// Who answers a request.
pub(crate) enum To {
    Application(Application),
    Upstream(Proxy),
}

/// A request that somebody else is to answer.
pub(crate) struct Passed<'a> {
    to: To,
    rest: Rest<'a>,
}

/// What is left to do about such a request.
pub(crate) struct Rest<'a> {
    target: Option<PathAndQuery>,
    action: Option<&'a Action>,
    /// The request, where the fields of the response tell of it.
    kept: Option<Box<Kept>>,
}

impl<'a> Passed<'a> {
    /// A request with which nothing else is done.
    pub(crate) fn to(to: To) -> Self {
        Self {
            to,
            rest: Rest {
                target: None,
                action: None,
                kept: None,
            },
        }
    }

    /// Who answers, and what is left to do around that.
    pub(crate) fn part(self) -> (To, Rest<'a>) {
        (self.to, self.rest)
    }
}

impl Rest<'_> {
    /// Gives the request the target that who answers is to see.
    pub(crate) fn retarget(&self, parts: &mut Parts) {
        if let Some(target) = &self.target {
            request::retarget(parts, target.clone());
        }
    }

    /// Sets the fields of the response.
    pub(crate) fn set_headers(&self, facts: Option<&Facts>, response: &mut Response<Content>) {
        let Some(Action {
            response_headers, ..
        }) = self.action
        else {
            return;
        };
        match (&self.kept, facts) {
            (Some(kept), Some(facts)) => kept.ask(facts, None, |known| {
                action::set_headers(response_headers, response, Some(known));
            }),
            _ => action::set_headers(response_headers, response, None),
        }
    }
}

/// A request on its way through the steps.
pub(crate) struct Walk<'t, 'a> {
    table: &'t Table,
    parts: &'a Parts,
    facts: &'a Facts,
    ends: Ends,
    host: Cow<'a, str>,
    target: Target<'a>,
    /// The last one that was taken.
    action: Option<&'t Action>,
    /// How many were.
    taken: usize,
    /// Whether the target has decided where the request goes.
    is_matched: bool,
    logs: bool,
}

impl<'t: 'a, 'a> Walk<'t, 'a> {
    /// Takes a request that has been checked.
    ///
    /// # Errors
    ///
    /// The status to refuse it with, where its target is none for routes.
    pub(crate) fn new(
        table: &'t Table,
        parts: &'a Parts,
        facts: &'a Facts,
        ends: Ends,
        logs: bool,
    ) -> Result<Self, StatusCode> {
        let raw = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
        let target = Target::parse(raw.as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)?;
        Ok(Self {
            table,
            parts,
            facts,
            ends,
            host: request::server_name(&parts.headers),
            target,
            action: None,
            taken: 0,
            is_matched: false,
            logs,
        })
    }

    /// Goes where `pass` says, and on from there.
    pub(crate) async fn go(mut self, pass: &Pass, share_files: &ShareFiles) -> Routed<'t> {
        self.is_matched = matches!(pass, Pass::Steps(_) | Pass::Variable(_));
        let end = match self.pass(pass) {
            // Only here is something to wait for, which takes room.
            End::Share(share) => Box::pin(self.serve(share, share_files)).await,
            end => end,
        };
        match end {
            End::To(to) => match self.rest() {
                Ok(rest) => Routed::To(Passed { to, rest }),
                // Encoded, it is too long. The target as the client sent it must not go on instead.
                Err(error) if self.target.is_rewritten() => {
                    tracing::warn!(request = %self.facts.id, "a rewrite fails: {error}");
                    Routed::Here(page::error(StatusCode::INTERNAL_SERVER_ERROR))
                }
                Err(_) => Routed::Here(page::refused(StatusCode::URI_TOO_LONG)),
            },
            End::Metrics(metrics) => {
                let mut response = Box::pin(metrics.respond(&self.parts.method)).await;
                self.set_headers(&mut response);
                Routed::Here(response)
            }
            End::Respond(mut response) => {
                self.set_headers(&mut response);
                Routed::Here(response)
            }
            End::Share(_) => Routed::Here(page::error(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }

    fn pass(&mut self, pass: &Pass) -> End<'t> {
        let mut place = self.place(pass);
        loop {
            let steps = match place {
                Place::Application(Some(application)) => {
                    return End::To(To::Application(application));
                }
                Place::Upstream(proxy) => return End::To(To::Upstream(proxy)),
                Place::Metrics(metrics) => return End::Metrics(metrics),
                Place::Application(None) => return respond(StatusCode::SERVICE_UNAVAILABLE),
                Place::Nowhere => return respond(StatusCode::NOT_FOUND),
                Place::Steps(steps) => steps,
            };
            let Some(action) = self.select(steps) else {
                return respond(StatusCode::NOT_FOUND);
            };
            place = match self.take(action) {
                Taken::Pass(pass) => self.place(pass),
                Taken::End(end) => return end,
            };
        }
    }

    /// Asks the files of a share, and whoever is behind it, until it is no share that is asked.
    async fn serve(&mut self, mut share: &'t Share, share_files: &ShareFiles) -> End<'t> {
        loop {
            let served = {
                let request = self.request();
                let paths = share.paths(&self.known(&request));
                let files = static_files::Request {
                    method: &self.parts.method,
                    headers: &self.parts.headers,
                    path: self.target.path(),
                    // It was a text before it was taken apart.
                    query: std::str::from_utf8(self.target.query()).unwrap_or_default(),
                    now: SystemTime::now(),
                };
                match paths {
                    Some(paths) => share.files.serve(&files, &paths, &share_files.open).await,
                    None => Err(NotServed::Forbidden),
                }
            };
            let reason = match served {
                Ok(response) => return End::Respond(response.map(Content::file)),
                Err(reason) => reason,
            };
            if let NotServed::TooManyOpen = reason {
                share_files.warn_exhausted();
            }
            let Some(fallback) = &share.fallback else {
                return End::Respond(action::not_served(&reason));
            };
            if !reason.may_fall_back() {
                return End::Respond(action::not_served(&reason));
            }
            if self.logs {
                notice!(self.facts, "\"fallback\" taken");
            }
            let end = match self.take(fallback) {
                Taken::Pass(pass) => self.pass(pass),
                Taken::End(end) => end,
            };
            match end {
                End::Share(next) => share = next,
                end => return end,
            }
        }
    }

    fn rest(&self) -> Result<Rest<'t>, InvalidUri> {
        let action = self.action.filter(|it| !it.response_headers.is_empty());
        let is_kept = action.is_some_and(Action::has_variable_headers);
        Ok(Rest {
            target: self.respelled()?,
            action,
            kept: is_kept.then(|| Box::new(Kept::of(self.parts, self.ends))),
        })
    }

    /// The target that who answers is to see, if it is not the one that the client sent. Steps that
    /// have matched a path are sure that no other is read out of it: see [`Target::to_send`].
    fn respelled(&self) -> Result<Option<PathAndQuery>, InvalidUri> {
        if !self.is_matched || !self.target.is_respelled() {
            return Ok(None);
        }
        let mut sent = self.target.to_send();
        if sent.first() != Some(&b'/') {
            // Unit sends it without, which is no target.
            sent.to_mut().insert(0, b'/');
        }
        PathAndQuery::try_from(&*sent).map(Some)
    }

    /// Sets the fields of a response that is made here.
    fn set_headers(&self, response: &mut Response<Content>) {
        let Some(action) = self.action else { return };
        let request = self.request();
        let known = self.known(&request);
        action::set_headers(&action.response_headers, response, Some(&known));
    }

    fn place(&self, pass: &Pass) -> Place<'t> {
        match pass {
            Pass::Application(application) => Place::Application(application.clone()),
            Pass::Upstream(proxy) => Place::Upstream(proxy.clone()),
            Pass::Metrics(metrics) => Place::Metrics(metrics.clone()),
            Pass::Steps(index) => self
                .table
                .steps(*index)
                .map_or(Place::Nowhere, Place::Steps),
            Pass::Variable(template) => {
                let request = self.request();
                let named = template.expand(&self.known(&request)).into_owned();
                match self.table.find(&named) {
                    Some(Pass::Application(application)) => Place::Application(application),
                    Some(Pass::Upstream(proxy)) => Place::Upstream(proxy),
                    Some(Pass::Steps(index)) => {
                        self.table.steps(index).map_or(Place::Nowhere, Place::Steps)
                    }
                    Some(Pass::Metrics(_) | Pass::Variable(_)) | None => Place::Nowhere,
                }
            }
        }
    }

    fn select(&self, steps: &'t Steps) -> Option<&'t Action> {
        let request = self.request();
        let selected = steps.route.select(&request, &self.known(&request));
        if self.logs {
            let name = steps
                .name
                .as_ref()
                .map_or_else(String::new, |name| format!("{name}/"));
            let discarded = selected.map_or(steps.route.steps().len(), |(index, _)| index);
            for index in 0..discarded {
                tracing::info!(
                    target: "server::discarded",
                    request = %self.facts.id,
                    "\"routes/{name}{index}\" discarded"
                );
            }
            if let Some((index, _)) = selected {
                notice!(self.facts, "\"routes/{name}{index}\" selected");
            }
        }
        selected.map(|(_, action)| action)
    }

    fn take(&mut self, action: &'t Action) -> Taken<'t> {
        if self.taken == MAX_ACTIONS {
            tracing::error!(
                request = %self.facts.id,
                "the request has been passed on {MAX_ACTIONS} times, and gets 500"
            );
            return Taken::End(respond(StatusCode::INTERNAL_SERVER_ERROR));
        }
        self.taken += 1;
        self.action = Some(action);
        if let Some(rewrite) = &action.rewrite {
            let rewritten = {
                let request = self.request();
                rewrite.apply(&self.target, &self.known(&request))
            };
            match rewritten {
                Ok(target) => self.target = target,
                Err(error) => {
                    tracing::warn!(request = %self.facts.id, "a rewrite fails: {error}");
                    return Taken::End(respond(StatusCode::INTERNAL_SERVER_ERROR));
                }
            }
            self.facts.rewrite(self.target.path());
            if self.logs {
                let path = String::from_utf8_lossy(self.target.path());
                notice!(self.facts, "URI rewritten to \"{path}\"");
            }
        }
        match &action.kind {
            ActionKind::Pass(pass) => Taken::Pass(pass),
            ActionKind::Share(share) => Taken::End(End::Share(share)),
            ActionKind::Return(answer) => {
                let request = self.request();
                let response = answer.respond(&self.known(&request));
                Taken::End(End::Respond(response))
            }
        }
    }

    fn request(&self) -> Request<'_> {
        Request {
            scheme: self.ends.scheme,
            method: self.parts.method.as_str(),
            host: &self.host,
            target: &self.target,
            headers: &self.parts.headers,
            source: self.ends.source,
            destination: self.ends.destination,
        }
    }

    fn known<'b>(&'b self, request: &'b Request<'b>) -> Known<'b> {
        Known {
            request,
            facts: self.facts,
            response: None,
        }
    }
}

/// Where a walk ends, or rests.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for a request, and a box would be one more allocation for that"
)]
enum End<'a> {
    To(To),
    Respond(Response<Content>),
    Metrics(Metrics),
    /// The files of this share are to be asked.
    Share(&'a Share),
}

enum Place<'a> {
    Application(Option<Application>),
    Upstream(Proxy),
    Metrics(Metrics),
    Steps(&'a Steps),
    Nowhere,
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for a request, and a box would be one more allocation for that"
)]
enum Taken<'a> {
    Pass(&'a Pass),
    End(End<'a>),
}

fn respond<'a>(status: StatusCode) -> End<'a> {
    End::Respond(page::error(status))
}
