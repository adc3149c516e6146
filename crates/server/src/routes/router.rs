//! Routes a request: from the step of a table to an application, an upstream, a file or a fixed response.

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
use super::not_found::not_found;
use super::pass::Pass;
use super::table::{Steps, Table};
use crate::connection_info::ConnectionInfo;
use crate::limits::ShareFiles;
use crate::request;
use crate::response::{Content, page};
use crate::variables::{RequestMeta, RequestSnapshot, VariableContext};

/// Logs a routing step of a request, at Unit's level `notice`.
macro_rules! notice {
    ($meta:expr, $($message:tt)+) => {
        tracing::info!(target: "server::notice", request = %$meta.id, $($message)+)
    };
}
pub(crate) use notice;

/// The end of a request's route.
pub(crate) enum Routed<'a> {
    /// An application or an upstream answers.
    Forward(Forward<'a>),
    /// The route has made the response itself.
    Respond(Response<Content>),
}

/// What answers a request that is forwarded.
pub(crate) enum Handler {
    Application(Application),
    Upstream(Proxy),
}

/// A request that is forwarded.
pub(crate) struct Forward<'a> {
    handler: Handler,
    pending: PendingResponse<'a>,
}

/// What the route still does to the request, and to the response once there is one.
pub(crate) struct PendingResponse<'a> {
    /// The rewritten target, which the handler is to see.
    target: Option<PathAndQuery>,
    /// Has `response_headers`.
    action: Option<&'a Action>,
    /// The request, where `response_headers` have variables that depend on it.
    snapshot: Option<Box<RequestSnapshot>>,
}

impl<'a> Forward<'a> {
    /// Without a route: the listener names what answers.
    pub(crate) fn to(handler: Handler) -> Self {
        Self {
            handler,
            pending: PendingResponse {
                target: None,
                action: None,
                snapshot: None,
            },
        }
    }

    pub(crate) fn split(self) -> (Handler, PendingResponse<'a>) {
        (self.handler, self.pending)
    }
}

impl PendingResponse<'_> {
    /// Replaces the request's target by the one that the handler is to see.
    pub(crate) fn retarget(&self, parts: &mut Parts) {
        if let Some(target) = &self.target {
            request::retarget(parts, target.clone());
        }
    }

    /// Sets the fields of the response.
    pub(crate) fn set_headers(&self, meta: Option<&RequestMeta>, response: &mut Response<Content>) {
        let Some(Action {
            response_headers, ..
        }) = self.action
        else {
            return;
        };
        match (&self.snapshot, meta) {
            (Some(snapshot), Some(meta)) => snapshot.with_context(meta, None, |context| {
                action::set_headers(response_headers, response, Some(context));
            }),
            _ => action::set_headers(response_headers, response, None),
        }
    }
}

/// Takes one request through the steps of a table.
pub(crate) struct Router<'t, 'a> {
    table: &'t Table,
    parts: &'a Parts,
    meta: &'a RequestMeta,
    info: ConnectionInfo,
    host: Cow<'a, str>,
    target: Target<'a>,
    /// The action that was applied last.
    action: Option<&'t Action>,
    /// Actions that were applied.
    applied: usize,
    /// Whether steps or variables have decided by the target, so that the handler must read the same one.
    is_matched: bool,
    logs: bool,
}

impl<'t: 'a, 'a> Router<'t, 'a> {
    /// For a request that has been checked.
    ///
    /// # Errors
    ///
    /// The status to refuse it with, if routes cannot parse its target.
    pub(crate) fn new(
        table: &'t Table,
        parts: &'a Parts,
        meta: &'a RequestMeta,
        info: ConnectionInfo,
        logs: bool,
    ) -> Result<Self, StatusCode> {
        let raw = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
        let target = Target::parse(raw.as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)?;
        Ok(Self {
            table,
            parts,
            meta,
            info,
            host: request::server_name(&parts.headers),
            target,
            action: None,
            applied: 0,
            is_matched: false,
            logs,
        })
    }

    /// Follows `pass`, and the passes of the actions that it leads to.
    pub(crate) async fn route(mut self, pass: &Pass, share_files: &ShareFiles) -> Routed<'t> {
        self.is_matched = matches!(pass, Pass::Steps(_) | Pass::Variable(_));
        let end = match self.pass(pass) {
            // Boxed, so that the futures of other requests have no room for the wait.
            Outcome::Share(share) => Box::pin(self.serve(share, share_files)).await,
            end => end,
        };
        match end {
            Outcome::Handler(handler) => match self.pending_response() {
                Ok(pending) => Routed::Forward(Forward { handler, pending }),
                // Encoded, it is too long. The target as the client sent it must not be forwarded instead.
                Err(error) if self.target.is_rewritten() => {
                    tracing::warn!(request = %self.meta.id, "cannot rewrite the URI: {error}; answering 500");
                    Routed::Respond(page::error(StatusCode::INTERNAL_SERVER_ERROR))
                }
                Err(_) => Routed::Respond(page::refused(StatusCode::URI_TOO_LONG)),
            },
            Outcome::Metrics(metrics) => {
                let mut response = Box::pin(metrics.respond(&self.parts.method)).await;
                self.set_headers(&mut response);
                Routed::Respond(response)
            }
            Outcome::Respond(mut response) => {
                self.set_headers(&mut response);
                Routed::Respond(response)
            }
            Outcome::Share(_) => Routed::Respond(page::error(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }

    fn pass(&mut self, pass: &Pass) -> Outcome<'t> {
        let mut destination = self.destination(pass);
        loop {
            let steps = match destination {
                Destination::Application(Some(application)) => {
                    return Outcome::Handler(Handler::Application(application));
                }
                Destination::Upstream(proxy) => return Outcome::Handler(Handler::Upstream(proxy)),
                Destination::Metrics(metrics) => return Outcome::Metrics(metrics),
                Destination::Application(None) => return respond(StatusCode::SERVICE_UNAVAILABLE),
                Destination::Nowhere => return Outcome::Respond(not_found()),
                Destination::Steps(steps) => steps,
            };
            let Some(action) = self.select(steps) else {
                return Outcome::Respond(not_found());
            };
            destination = match self.apply(action) {
                StepResult::Pass(pass) => self.destination(pass),
                StepResult::Outcome(end) => return end,
            };
        }
    }

    /// Serves a file of a share, or takes its fallbacks until one of them is not a share.
    async fn serve(&mut self, mut share: &'t Share, share_files: &ShareFiles) -> Outcome<'t> {
        loop {
            let served = {
                let request = self.request();
                let paths = share.paths(&self.context(&request));
                let files = static_files::Request {
                    method: &self.parts.method,
                    headers: &self.parts.headers,
                    path: self.target.path(),
                    // Always UTF-8: it is a part of a string.
                    query: std::str::from_utf8(self.target.query()).unwrap_or_default(),
                    now: SystemTime::now(),
                };
                match paths {
                    Some(paths) => share.files.serve(&files, &paths, &share_files.open).await,
                    None => Err(NotServed::Forbidden),
                }
            };
            let reason = match served {
                Ok(response) => return Outcome::Respond(response.map(Content::file)),
                Err(reason) => reason,
            };
            if let NotServed::TooManyOpen = reason {
                share_files.warn_exhausted();
            }
            let Some(fallback) = &share.fallback else {
                return Outcome::Respond(action::not_served(&reason));
            };
            if !reason.may_fall_back() {
                return Outcome::Respond(action::not_served(&reason));
            }
            if self.logs {
                notice!(self.meta, "\"fallback\" taken");
            }
            let end = match self.apply(fallback) {
                StepResult::Pass(pass) => self.pass(pass),
                StepResult::Outcome(end) => end,
            };
            match end {
                Outcome::Share(next) => share = next,
                end => return end,
            }
        }
    }

    fn pending_response(&self) -> Result<PendingResponse<'t>, InvalidUri> {
        let action = self.action.filter(|it| !it.response_headers.is_empty());
        let is_kept = action.is_some_and(Action::has_variable_headers);
        Ok(PendingResponse {
            target: self.respelled()?,
            action,
            snapshot: is_kept.then(|| Box::new(RequestSnapshot::of(self.parts, self.info))),
        })
    }

    /// The target that the handler is to see, if it differs from the client's. It makes sure that the handler reads the
    /// path that steps have matched: see [`Target::to_send`].
    fn respelled(&self) -> Result<Option<PathAndQuery>, InvalidUri> {
        if !self.is_matched || !self.target.is_respelled() {
            return Ok(None);
        }
        let mut sent = self.target.to_send();
        if sent.first() != Some(&b'/') {
            // Unit sends the path without the slash, which is not a valid target.
            sent.to_mut().insert(0, b'/');
        }
        PathAndQuery::try_from(&*sent).map(Some)
    }

    /// Sets the fields of a response that the route makes itself.
    fn set_headers(&self, response: &mut Response<Content>) {
        let Some(action) = self.action else { return };
        let request = self.request();
        let context = self.context(&request);
        action::set_headers(&action.response_headers, response, Some(&context));
    }

    fn destination(&self, pass: &Pass) -> Destination<'t> {
        match pass {
            Pass::Application(application) => Destination::Application(application.clone()),
            Pass::Upstream(proxy) => Destination::Upstream(proxy.clone()),
            Pass::Metrics(metrics) => Destination::Metrics(metrics.clone()),
            Pass::Steps(index) => self
                .table
                .steps(*index)
                .map_or(Destination::Nowhere, Destination::Steps),
            Pass::Variable(template) => {
                let request = self.request();
                let named = template.expand(&self.context(&request)).into_owned();
                match self.table.find(&named) {
                    Some(Pass::Application(application)) => Destination::Application(application),
                    Some(Pass::Upstream(proxy)) => Destination::Upstream(proxy),
                    Some(Pass::Steps(index)) => self
                        .table
                        .steps(index)
                        .map_or(Destination::Nowhere, Destination::Steps),
                    Some(Pass::Metrics(_) | Pass::Variable(_)) | None => Destination::Nowhere,
                }
            }
        }
    }

    fn select(&self, steps: &'t Steps) -> Option<&'t Action> {
        let request = self.request();
        let selected = steps.route.select(&request, &self.context(&request));
        if self.logs {
            let name = steps
                .name
                .as_ref()
                .map_or_else(String::new, |name| format!("{name}/"));
            let discarded = selected.map_or(steps.route.steps().len(), |(index, _)| index);
            for index in 0..discarded {
                tracing::info!(
                    target: "server::discarded",
                    request = %self.meta.id,
                    "\"routes/{name}{index}\" discarded"
                );
            }
            if let Some((index, _)) = selected {
                notice!(self.meta, "\"routes/{name}{index}\" selected");
            }
        }
        selected.map(|(_, action)| action)
    }

    fn apply(&mut self, action: &'t Action) -> StepResult<'t> {
        if self.applied == MAX_ACTIONS {
            tracing::error!(
                request = %self.meta.id,
                "routing loop: the request has been passed {MAX_ACTIONS} times; answering 500"
            );
            return StepResult::Outcome(respond(StatusCode::INTERNAL_SERVER_ERROR));
        }
        self.applied += 1;
        self.action = Some(action);
        if let Some(rewrite) = &action.rewrite {
            let rewritten = {
                let request = self.request();
                rewrite.apply(&self.target, &self.context(&request))
            };
            match rewritten {
                Ok(target) => self.target = target,
                Err(error) => {
                    tracing::warn!(request = %self.meta.id, "cannot rewrite the URI: {error}; answering 500");
                    return StepResult::Outcome(respond(StatusCode::INTERNAL_SERVER_ERROR));
                }
            }
            self.meta.rewrite(self.target.path());
            if self.logs {
                let path = String::from_utf8_lossy(self.target.path());
                notice!(self.meta, "URI rewritten to \"{path}\"");
            }
        }
        match &action.kind {
            ActionKind::Pass(pass) => StepResult::Pass(pass),
            ActionKind::Share(share) => StepResult::Outcome(Outcome::Share(share)),
            ActionKind::Return(answer) => {
                let request = self.request();
                let response = answer.respond(&self.context(&request));
                StepResult::Outcome(Outcome::Respond(response))
            }
        }
    }

    fn request(&self) -> Request<'_> {
        Request {
            scheme: self.info.scheme,
            method: self.parts.method.as_str(),
            host: &self.host,
            target: &self.target,
            headers: &self.parts.headers,
            source: self.info.source,
            destination: self.info.destination,
        }
    }

    fn context<'b>(&'b self, request: &'b Request<'b>) -> VariableContext<'b> {
        VariableContext {
            request,
            meta: self.meta,
            response: None,
        }
    }
}

/// The end of the steps; a share may have a fallback still.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for a request, and a box would be one more allocation for that"
)]
enum Outcome<'a> {
    Handler(Handler),
    Respond(Response<Content>),
    Metrics(Metrics),
    /// A file of this share answers, or its fallback.
    Share(&'a Share),
}

enum Destination<'a> {
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
enum StepResult<'a> {
    Pass(&'a Pass),
    Outcome(Outcome<'a>),
}

fn respond<'a>(status: StatusCode) -> Outcome<'a> {
    Outcome::Respond(page::error(status))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use engine::RequestId;
    use http::header::LOCATION;
    use proxy::{Pool, PoolOptions, Server, Upstream};
    use routing::{
        Condition, Endpoint, Match, Rewrite, Route, Scheme, Template, Test, VariableSet,
    };

    use super::*;
    use crate::routes::action::{ResponseHeader, Return};

    fn template(text: &str) -> Template {
        Template::parse(text, VariableSet::ALL).unwrap()
    }

    fn action(kind: ActionKind) -> Action {
        Action {
            kind,
            rewrite: None,
            response_headers: Vec::new(),
        }
    }

    fn status(code: u16) -> Action {
        action(ActionKind::Return(Return::new(code, None)))
    }

    fn pass(to: &str) -> Action {
        action(ActionKind::Pass(Pass::Variable(template(to))))
    }

    fn rewritten(uri: &str, action: Action) -> Action {
        Action {
            rewrite: Some(Rewrite::parse(uri, VariableSet::ALL).unwrap()),
            ..action
        }
    }

    fn condition(text: &str) -> Match {
        Match::new([Test::If(Condition::parse(text, VariableSet::ALL).unwrap())])
    }

    fn steps(name: Option<&str>, steps: Vec<(Match, Action)>) -> Steps {
        Steps {
            name: name.map(str::to_owned),
            route: Route::new(steps),
        }
    }

    fn upstream() -> Proxy {
        let server = Server::tcp(([127, 0, 0, 1], 9).into());
        let pool = Pool::new(PoolOptions::default());
        Proxy::new(Upstream::single(server), pool, proxy::Timeouts::default())
    }

    fn table(routes: Vec<Steps>) -> Table {
        let upstreams = [("back".to_owned(), upstream())];
        Table::new(routes, [("none".to_owned(), None)], upstreams)
    }

    /// The status of a response of the route itself, or the target that the upstream gets.
    async fn route(table: &Table, target: &str) -> Result<u16, String> {
        match respond_to(table, target).await {
            Routed::Respond(response) => Ok(response.status().as_u16()),
            Routed::Forward(forward) => {
                let (handler, pending) = forward.split();
                assert!(matches!(handler, Handler::Upstream(_)));
                let mut parts = parts(target);
                request::make_absolute(&mut parts, http::uri::Scheme::HTTP, None).unwrap();
                pending.retarget(&mut parts);
                Err(parts.uri.path_and_query().unwrap().to_string())
            }
        }
    }

    fn parts(target: &str) -> Parts {
        let request = http::Request::builder()
            .uri(target)
            .header("host", "a.example");
        request.body(()).unwrap().into_parts().0
    }

    async fn respond_to<'t>(table: &'t Table, target: &str) -> Routed<'t> {
        let parts = parts(target);
        let meta = RequestMeta::new(RequestId::next(), &parts, Instant::now());
        let info = ConnectionInfo {
            scheme: Scheme::Http,
            source: Endpoint::Unix,
            destination: Endpoint::Unix,
        };
        let router = Router::new(table, &parts, &meta, info, false);
        let share_files = ShareFiles::new(1);
        // `router` borrows from this function; what it returns, from the table alone.
        router.unwrap().route(&Pass::Steps(0), &share_files).await
    }

    #[tokio::test]
    async fn the_first_step_that_matches_has_its_action_taken() {
        let table = table(vec![steps(
            None,
            vec![
                (condition("$arg_a"), status(201)),
                (condition("$arg_b"), status(202)),
                (Match::default(), status(203)),
            ],
        )]);
        assert_eq!(route(&table, "/?b=1").await, Ok(202));
        assert_eq!(route(&table, "/?b=1&a=1").await, Ok(201));
        assert_eq!(route(&table, "/").await, Ok(203));
    }

    #[tokio::test]
    async fn a_request_that_no_step_matches_gets_404() {
        let table = table(vec![steps(None, vec![(condition("$arg_a"), status(200))])]);
        assert_eq!(route(&table, "/").await, Ok(404));
    }

    #[tokio::test]
    async fn a_pass_with_variables_goes_where_they_say() {
        let table = table(vec![
            steps(None, vec![(Match::default(), pass("$arg_to"))]),
            steps(Some("other"), vec![(Match::default(), status(204))]),
        ]);
        assert_eq!(route(&table, "/?to=routes/other").await, Ok(204));
        assert_eq!(
            route(&table, "/x?to=upstreams/back").await,
            Err("/x?to=upstreams/back".to_owned())
        );
        // Not loaded, unknown, and not for clients to choose.
        assert_eq!(route(&table, "/?to=applications/none").await, Ok(503));
        assert_eq!(route(&table, "/?to=applications/unknown").await, Ok(404));
        assert_eq!(route(&table, "/?to=metrics").await, Ok(404));
    }

    #[tokio::test]
    async fn a_routing_loop_ends_in_500() {
        let table = table(vec![steps(None, vec![(Match::default(), pass("routes"))])]);
        assert_eq!(route(&table, "/").await, Ok(500));
    }

    #[tokio::test]
    async fn a_rewrite_changes_what_later_steps_and_the_upstream_see() {
        let table = table(vec![
            steps(
                None,
                vec![(Match::default(), rewritten("/new", pass("routes/next")))],
            ),
            steps(
                Some("next"),
                vec![(Match::default(), pass("upstreams/back"))],
            ),
        ]);
        assert_eq!(route(&table, "/old?q=1").await, Err("/new?q=1".to_owned()));
    }

    #[tokio::test]
    async fn a_target_that_cannot_be_parsed_is_refused_before_routing() {
        let table = table(vec![steps(None, vec![(Match::default(), status(200))])]);
        let parts = parts("/..");
        let meta = RequestMeta::new(RequestId::next(), &parts, Instant::now());
        let info = ConnectionInfo {
            scheme: Scheme::Http,
            source: Endpoint::Unix,
            destination: Endpoint::Unix,
        };
        let router = Router::new(&table, &parts, &meta, info, false);
        assert_eq!(router.err(), Some(StatusCode::BAD_REQUEST));
    }

    #[tokio::test]
    async fn response_headers_are_set_in_successes_and_redirects_only() {
        let with_header = |code| {
            let location = Some(template("/to$uri"));
            Action {
                response_headers: vec![ResponseHeader {
                    name: http::header::AGE,
                    value: Some(template("$arg_age")),
                }],
                ..action(ActionKind::Return(Return::new(code, location)))
            }
        };
        for (code, is_set) in [(200, true), (301, true), (404, false), (500, false)] {
            let table = table(vec![steps(
                None,
                vec![(Match::default(), with_header(code))],
            )]);
            let Routed::Respond(response) = respond_to(&table, "/x?age=7").await else {
                panic!("a fixed response is not forwarded");
            };
            let age = response.headers().get(http::header::AGE);
            assert_eq!(age.is_some_and(|age| age == "7"), is_set, "{code}");
            let location = response.headers().get(LOCATION);
            assert_eq!(location.is_some_and(|it| it == "/to/x"), is_set, "{code}");
        }
    }
}
