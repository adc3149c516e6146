//! The 404 of routes: no step of the route matches the request, or the step passes it to something that the
//! configuration does not name. Files that do not exist get theirs in `static_files`, and paths of the control API in
//! `control`; a guest makes its own.

use http::{Response, StatusCode};

use crate::response::{Content, page};

pub(super) fn not_found() -> Response<Content> {
    page::error(StatusCode::NOT_FOUND)
}
