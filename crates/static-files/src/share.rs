use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, Method, Response};

use crate::open::Wait;
use crate::open_files::{OpenFiles, Permit};
use crate::search::{Search, Stop};
use crate::{Body, ExpandedPath, MimeTypes, NotServed, respond};

/// What an action of the kind `share` is configured with, but for the paths. Its defaults are
/// Unit's.
#[derive(Clone)]
pub struct Options {
    /// The file that stands for its folder: added to a path that ends in `/`. By default
    /// `index.html`. Empty, folders are not found (404).
    pub index: String,
    /// Whether symbolic links are followed: by default yes, wherever they lead. Without, a path
    /// with a link in it, anywhere, is forbidden (403). With a `chroot`, only what is below it
    /// counts.
    pub follow_symlinks: bool,
    /// Whether mount points are crossed: by default yes. Without, a path that leads into another
    /// file system than it begins in, which is `/`, the working folder, or `chroot`, is forbidden
    /// (403).
    pub traverse_mounts: bool,
    /// Which files are served, by their types: by default all.
    ///
    /// As in Unit, it is the type of the path's extension that is asked about, before the file is
    /// looked for. Unlike in Unit, that holds for an index, too. `""` is asked where there is no type,
    /// which is the case for folders without their slash: to see them redirected, `types` must accept
    /// `""`.
    pub types: Option<TypeFilter>,
    /// Which type a file has.
    pub mime_types: Arc<MimeTypes>,
    /// Whether siblings with the suffix `.br`, `.zst` or `.gz` are sent to clients that accept
    /// Brotli, Zstandard or Gzip. By default no, since Unit does not; it costs up to three `openat2`
    /// in a request that accepts these. A sibling that is older than its file is taken to be out of
    /// date, and passed over.
    pub precompressed: bool,
}

/// Says whether files of a MIME type are served. It is called in the middle of a request, so it
/// must not block.
pub type TypeFilter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl Default for Options {
    fn default() -> Self {
        Self {
            index: "index.html".to_owned(),
            follow_symlinks: true,
            traverse_mounts: true,
            types: None,
            mime_types: Arc::default(),
            precompressed: false,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("index", &self.index)
            .field("follow_symlinks", &self.follow_symlinks)
            .field("traverse_mounts", &self.traverse_mounts)
            .field("types", &self.types.is_some())
            .field("precompressed", &self.precompressed)
            .finish_non_exhaustive()
    }
}

/// The files that one request may be served with, after all variables have been expanded.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// What `share` lists. They are tried in order; the last one's failure is the outcome.
    pub share: Vec<ExpandedPath>,
    /// The folder that none of them leaves: the kernel keeps links, absolute ones too, within it.
    /// Empty is none. A path that does not begin with this text, or equals it, is forbidden (403).
    pub chroot: ExpandedPath,
}

/// What of a request counts.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Anything but `GET` and `HEAD` is not served.
    pub method: &'a Method,
    /// The conditions, `range` and `accept-encoding` are read.
    pub headers: &'a HeaderMap,
    /// The path as Unit knows it: percent-decoded and normalised. It is not looked for, but is what
    /// a redirection is made of.
    pub path: &'a [u8],
    /// Without the question mark, as the client sent it.
    pub query: &'a str,
    /// The time of the response's `Date`.
    pub now: SystemTime,
}

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
