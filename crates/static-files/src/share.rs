//! Serving one request: a lookup on the calling thread, and another one on the blocking pool if the
//! first would have to wait for a disk.

use std::io;
use std::sync::Arc;

use http::{Method, Response};

use crate::open::Wait;
use crate::open_files::{OpenFiles, Permit};
use crate::search::{Search, Stop};
use crate::{Body, NotServed, Options, Paths, Request, respond};

/// An action of the kind `share`.
///
/// Cloning it is cheap. It holds no file open: every request looks its path up again, as in Unit,
/// so a file that is replaced is served from then on.
#[derive(Clone, Debug)]
pub struct Share(Arc<Options>);

impl Share {
    /// The share with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Arc::new(options))
    }

    /// Answers a request with the first of `paths` that can be served.
    ///
    /// What is in the kernel's caches is opened, and a first piece of 64 KiB read, on the spot: four
    /// system calls for a small file, `close` among them, and no other thread. Where the kernel says
    /// that it would have to wait, a thread of the runtime's blocking pool does the same.
    ///
    /// A file that is not read and closed with that counts among `open_files` until its response is over.
    ///
    /// The response is one of 200, 206, 301, 304, 412 and 416, and is to be sent as it is, with
    /// `Date` and `Server` at most. `Content-Length` is there where a body may be; the body of a
    /// `HEAD` is empty all the same.
    ///
    /// # Errors
    ///
    /// When there is nothing to serve; what then, is the caller's.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, where it would have to wait.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time. A lookup that is on its way elsewhere ends by itself.
    pub async fn serve(
        &self,
        request: &Request<'_>,
        paths: &Paths,
        open_files: &OpenFiles,
    ) -> Result<Response<Body>, NotServed> {
        if request.method != Method::GET && request.method != Method::HEAD {
            return Err(NotServed::MethodNotAllowed);
        }
        let here = Lookup {
            from: 0,
            wait: Wait::Never,
            permit: None,
            open_files,
        };
        let from = match here.answer(&self.0, request, paths) {
            Ok(response) => return Ok(response),
            Err(Stop::NotServed(reason)) => return Err(reason),
            Err(Stop::WouldWait { at }) => at,
        };
        let (options, paths) = (Arc::clone(&self.0), paths.clone());
        let (method, headers) = (request.method.clone(), request.headers.clone());
        let (path, query) = (request.path.to_vec(), request.query.to_owned());
        let now = request.now;
        // Before a thread may have to wait, with files that are open.
        let permit = open_files.permit_lookup()?;
        let open_files = open_files.clone();
        let waiting = tokio::task::spawn_blocking(move || {
            let request = Request {
                method: &method,
                headers: &headers,
                path: &path,
                query: &query,
                now,
            };
            let there = Lookup {
                from,
                wait: Wait::Allowed,
                permit: Some(permit),
                open_files: &open_files,
            };
            there.answer(&options, &request, &paths)
        });
        match waiting.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(Stop::NotServed(reason))) => Err(reason),
            // It was allowed to wait.
            Ok(Err(Stop::WouldWait { .. })) => {
                Err(NotServed::Failed(io::ErrorKind::WouldBlock.into()))
            }
            Err(lost) => Err(NotServed::Failed(io::Error::other(lost))),
        }
    }
}

/// How the file for a response is looked up.
struct Lookup<'a> {
    /// The path that is tried first.
    from: usize,
    wait: Wait,
    /// What the lookup counts by, if it may have to wait.
    permit: Option<Permit>,
    open_files: &'a OpenFiles,
}

impl Lookup<'_> {
    fn answer(
        self,
        options: &Options,
        request: &Request<'_>,
        paths: &Paths,
    ) -> Result<Response<Body>, Stop> {
        let search = Search {
            options,
            headers: request.headers,
            chroot: &paths.chroot,
            wait: self.wait,
        };
        let found = search.first(&paths.share, self.from)?;
        let mut response = respond::to(request, found).map_err(Stop::NotServed)?;
        let body = response.body_mut();
        body.read_ahead(self.wait, self.permit, self.open_files)
            .map_err(Stop::NotServed)?;
        Ok(response)
    }
}
