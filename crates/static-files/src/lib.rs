//! Serves files, as NGINX Unit's action `share` does.
//!
//! ```text
//! Options ──Share::new──▶ Share
//! variables expanded ──▶ Paths ┐  │ serve
//! method, fields, path ─▶ Request ┴──▶ search ──openat2, fstat──▶ respond ──▶ http::Response<Body>
//!                                      │ each path, then its      │ conditions,       │ 64 KiB at
//!                                      ▼ precompressed siblings   │ ranges            ▼ a time
//!                                  NotServed: fallback, or a page ▼                BodyError:
//!                                                        200 206 301 304 412 416   cut off
//! ```
//!
//! This crate knows neither configurations nor routes. It does not expand variables, make error pages, list
//! folders, compress, or write files. It does not decode or normalise the request's path either: it opens the
//! path that it is given.
//!
//! # Which file
//!
//! The paths of `share` are tried in order, and the first one that leads to a file or a folder is served. As in
//! Unit, a path is the complete path of a file, not a folder to which the request's path is added.
//!
//! | at the path | answer |
//! | --- | --- |
//! | a regular file | 200 |
//! | a folder, and the path ends in `/` | the same with its index, or the next path |
//! | a folder, and the path does not end in `/` | 301 to the request's path with `/`, the query kept |
//! | nothing; a name that is too long, or has a NUL; a pipe, a socket, a device | the next path, else 404 |
//! | what permissions, `chroot`, `follow_symlinks`, `traverse_mounts` or `types` forbid | the next path, else 403 |
//! | an error: out of descriptors, a broken disk | 500, and nothing else is tried |
//!
//! If all paths fail, the status is that of the last one, and [`NotServed::may_fall_back`] says whether
//! `fallback` applies.
//!
//! # Path traversal and symlinks
//!
//! Without `chroot`, symlinks are followed to anywhere, as in Unit, unless `follow_symlinks` is off. With
//! `chroot`, the kernel resolves the path within that folder (`openat2` with `RESOLVE_IN_ROOT`): `..` and
//! absolute symlinks cannot leave it, and the magic links of `/proc` are forbidden. The file that this single
//! lookup opens is the one that is sent, so that there is no race with a symlink that is replaced. On kernels
//! before Linux 5.6, a share with `chroot`, or with one of the two options off, serves nothing (500).
//!
//! In both cases, a variable cannot add a `..` segment to a path (403): see [`ExpandedPath`].
//!
//! # Speed
//!
//! A small file in the page cache costs `openat2`, `fstat`, `preadv2` and `close`, all on the calling thread and
//! none of them blocking: with `RESOLVE_CACHED` and `RWF_NOWAIT`, the kernel returns an error instead. Only then
//! does the blocking pool repeat this, once for opening and the first 64 KiB. `chroot` costs two more
//! system calls: as in Unit, its folder is opened for each request, since it may be replaced at any time.
//!
//! Some file systems do not support `RWF_NOWAIT`. Of these, tmpfs is memory and is read on the calling thread; so
//! are overlayfs and squashfs for files of at most 64 KiB, which may block on a disk; all others are read in the
//! pool.
//!
//! # Open files
//!
//! A client that reads slowly keeps the file of its response open; over HTTP/2, one for each stream.
//! [`OpenFiles`] limits their number. When the limit is reached, files that are larger than 64 KiB or not in the
//! kernel's caches are not served ([`NotServed::TooManyOpen`]). Others are, since they are closed at once.
//!
//! # What Unit does not have
//!
//! Conditional requests (RFC 9110, section 13), ranges (section 14), and precompressed siblings
//! ([`Options::precompressed`]). Comments in the code say where Unit's answers are unexpected, and whether this crate
//! follows them.
//!
//! ```
//! # use http::{HeaderMap, Method, header};
//! # use static_files::{ExpandedPath, OpenFiles, Options, Paths, Request, Share};
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("index.html"), "hello")?;
//!
//! let share = Share::new(Options::default());
//! let paths = Paths {
//!     share: vec![ExpandedPath::new().literal(folder.path().to_str().unwrap()).variable("/")],
//!     ..Paths::default()
//! };
//! let request = Request {
//!     method: &Method::GET,
//!     headers: &HeaderMap::new(),
//!     path: b"/",
//!     query: "",
//!     now: std::time::SystemTime::now(),
//! };
//! let response = share.serve(&request, &paths, &OpenFiles::new(100)).await?;
//! assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html");
//! assert_eq!(response.headers()[header::CONTENT_LENGTH], "5");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod coding;
mod conditions;
mod etag_list;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod mime_table;
mod mime_types;
mod multipart;
mod not_served;
mod open;
mod open_files;
mod options;
mod path;
mod range;
mod read;
mod redirect;
mod request;
mod respond;
mod search;
mod share;
mod validators;

pub use body::{Body, BodyError};
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz_fields;
pub use mime_types::{MimeTypeError, MimeTypes};
pub use not_served::NotServed;
pub use open_files::OpenFiles;
pub use options::{Options, TypeFilter};
pub use path::ExpandedPath;
pub use range::MAX_RANGES;
pub use request::{Paths, Request};
pub use share::Share;
