//! A folder with files, and requests for them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt;
use static_files::{Body, ExpandedPath, NotServed, OpenFiles, Options, Paths, Request, Share};
use tempfile::TempDir;

/// When the files of the tests were modified: Sun, 06 Nov 1994 08:49:37 GMT.
pub(crate) const MODIFIED: u64 = 784_111_777;
pub(crate) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A folder with files, and a share of it: `FOLDER$uri`.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) options: Options,
    /// Below the folder, unless it is absolute.
    pub(crate) chroot: Option<PathBuf>,
    pub(crate) open_files: OpenFiles,
}

/// What a test says about its request.
pub(crate) struct Ask<'a> {
    site: &'a Site,
    method: Method,
    headers: HeaderMap,
    path: Vec<u8>,
    query: String,
    pub(crate) now: SystemTime,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Site {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            options: Options::default(),
            chroot: None,
            open_files: OpenFiles::new(1000),
        };
        for (name, text) in files {
            site.write(name, text);
        }
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.set_modified(name, MODIFIED);
    }

    pub(crate) fn set_modified(&self, name: &str, seconds: u64) {
        self.set_modified_at(name, UNIX_EPOCH + Duration::from_secs(seconds));
    }

    pub(crate) fn set_modified_at(&self, name: &str, time: SystemTime) {
        let file = File::options().write(true).open(self.path(name)).unwrap();
        file.set_modified(time).unwrap();
    }

    pub(crate) fn link(&self, target: impl AsRef<Path>, name: &str) {
        std::os::unix::fs::symlink(target, self.path(name)).unwrap();
    }

    pub(crate) fn paths(&self, uri: &[u8]) -> Paths {
        let root = self.folder.path().to_str().unwrap();
        let chroot = match &self.chroot {
            Some(chroot) => {
                ExpandedPath::new().literal(self.path("").join(chroot).to_str().unwrap())
            }
            None => ExpandedPath::new(),
        };
        Paths {
            share: vec![ExpandedPath::new().literal(root).variable(uri)],
            chroot,
        }
    }

    pub(crate) fn ask(&self, uri: impl AsRef<[u8]>) -> Ask<'_> {
        Ask {
            site: self,
            method: Method::GET,
            headers: HeaderMap::new(),
            path: uri.as_ref().to_vec(),
            query: String::new(),
            now: SystemTime::now(),
        }
    }

    pub(crate) fn get(&self, uri: impl AsRef<[u8]>) -> Answer {
        self.ask(uri).answer()
    }

    /// The status alone, whatever is said by it.
    pub(crate) fn status(&self, uri: impl AsRef<[u8]>) -> u16 {
        self.get(uri).status
    }
}

impl Ask<'_> {
    pub(crate) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    pub(crate) fn field(mut self, name: HeaderName, value: &str) -> Self {
        self.headers
            .append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub(crate) async fn of(self, paths: &Paths) -> Result<Response<Body>, NotServed> {
        let request = Request {
            method: &self.method,
            headers: &self.headers,
            path: &self.path,
            query: &self.query,
            now: self.now,
        };
        let share = Share::new(self.site.options.clone());
        share.serve(&request, paths, &self.site.open_files).await
    }

    pub(crate) fn answer(self) -> Answer {
        let paths = self.site.paths(&self.path);
        self.answer_of(&paths)
    }

    pub(crate) fn answer_of(self, paths: &Paths) -> Answer {
        block_on(async {
            match self.of(paths).await {
                Ok(response) => Answer::of(response).await,
                Err(reason) => Answer {
                    status: reason.status().as_u16(),
                    headers: HeaderMap::new(),
                    body: Vec::new(),
                },
            }
        })
    }
}

impl Answer {
    async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    pub(crate) fn field(&self, name: impl http::header::AsHeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}
