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
//! This crate knows no configuration text, no routes, no listeners. It expands no variables, draws
//! no error pages, lists no folders, compresses nothing, and writes nothing to any disk. It does not
//! normalise the request's path, nor decode it: what it is given is what it opens.
//!
//! # Which file
//!
//! The paths of `share` are tried in order, and the first one that leads to a file or a folder is
//! the answer. As in Unit, a path is all of the file's path, not a folder that the request's path is
//! added to.
//!
//! | at the path | answer |
//! | --- | --- |
//! | a regular file | 200 |
//! | a folder, and the path ends in `/` | the same with its index, or the next path |
//! | a folder, and the path does not | 301 to the request's path with `/`, the query kept |
//! | nothing; a name that is too long, or has a NUL; a pipe, a socket, a device | the next path, else 404 |
//! | what permissions, `chroot`, `follow_symlinks`, `traverse_mounts` or `types` forbid | the next path, else 403 |
//! | no answer: out of descriptors, a broken disk | 500, and nothing else is tried |
//!
//! The status of the last path counts where all fail, and [`NotServed::may_fall_back`] says whether
//! `fallback` is taken.
//!
//! # What no path leaves
//!
//! Without `chroot`, Unit has no root: links are followed wherever they lead, unless
//! `follow_symlinks` is off. With `chroot`, the kernel resolves the path within that folder
//! (`openat2` with `RESOLVE_IN_ROOT`): `..` and absolute links end there, and links of `/proc`
//! that jump are forbidden. There is one lookup, and what it opened is what is sent, so that no
//! link that is swapped in between matters. Without a kernel that can do this (Linux 5.6), a share with
//! `chroot`, or with one of the two switches off, serves nothing (500).
//!
//! Either way, a variable cannot bring `..` into a path (403): see [`ExpandedPath`].
//!
//! # Speed
//!
//! A request for a small file that is in the page cache costs `openat2`, `fstat`, `preadv2` and
//! `close`, all of them on the calling thread, which none of them blocks: `RESOLVE_CACHED` and
//! `RWF_NOWAIT` have the kernel say so where they would. Only then, the runtime's blocking pool
//! is asked, once for opening and the first 64 KiB. `chroot` costs two system calls more, since
//! the folder is opened each time, as in Unit, and may be replaced at any time.
//!
//! Some file systems cannot tell what is cached. Of these, tmpfs is read on the spot, which is
//! memory; overlayfs and squashfs are for files of at most 64 KiB, which may wait for a disk; the
//! rest is read in the pool.
//!
//! # Open files
//!
//! A client that reads slowly, or not at all, keeps the file of its response open; over HTTP/2, one for each of its
//! streams. [`OpenFiles`] bounds how many: beyond that, what is larger than 64 KiB or not in the kernel's caches
//! is not served ([`NotServed::TooManyOpen`]). The rest is, as it is read and closed on the spot.
//!
//! # What Unit does not have
//!
//! Conditional requests (RFC 9110, section 13), ranges (section 14), and precompressed siblings
//! ([`Options::precompressed`]). Where Unit's answer is odd or wrong, the comment beside the code
//! says so, and whether it is followed.
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
mod entity_tag;
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
