//! Serving one request: a lookup on the calling thread, and another one on the blocking pool if the
//! first would have to wait for a disk.

use std::io;
use std::sync::Arc;

use http::{Method, Response};

use crate::open::Wait;
use crate::open_files::{OpenFiles, Permit};
use crate::search::{Search, Stop};
use crate::{Body, NotServed, Options, Paths, Request, respond};

/// A `share`. Cheap to clone.
///
/// It holds no file open: as in Unit, every request looks its path up again, so a replaced file is served at
/// once.
#[derive(Clone, Debug)]
pub struct Share(Arc<Options>);

impl Share {
    /// A share with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Arc::new(options))
    }

    /// Answers a request with the first of `paths` that can be served.
    ///
    /// A file in the kernel's caches is opened and its first 64 KiB read on the calling thread: four system calls
    /// for a small file, `close` included. If the kernel reports that it would block, a thread of the runtime's
    /// blocking pool does this.
    ///
    /// A larger file counts among `open_files` until its response ends.
    ///
    /// The status is 200, 206, 301, 304, 412 or 416. The caller sends the response unchanged, except for `Date` and
    /// `Server`. `Content-Length` is set if the status allows a body; the body of a `HEAD` is empty.
    ///
    /// # Errors
    ///
    /// If no file is served; the caller handles `fallback` and error pages.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, if it would have to block.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time. A lookup on the blocking pool then ends by itself.
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
        // Taken before, since a blocked thread holds files open, and must count.
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
            // Unreachable: this lookup is allowed to block.
            Ok(Err(Stop::WouldWait { .. })) => {
                Err(NotServed::Failed(io::ErrorKind::WouldBlock.into()))
            }
            Err(lost) => Err(NotServed::Failed(io::Error::other(lost))),
        }
    }
}

/// One lookup of a file.
struct Lookup<'a> {
    /// The index of the path that is tried first.
    from: usize,
    wait: Wait,
    /// The lookup's share of the limit on open files, if it may block.
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
