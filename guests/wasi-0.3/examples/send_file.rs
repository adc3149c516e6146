//! Responds with the file `?PATH`, which the host reads, and ends.

use guests_03::Answer;
use guests_03::wasip3::filesystem::preopens::get_directories;
use guests_03::wasip3::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use guests_03::wasip3::http::types::{Fields, Request, Response};
use guests_03::wasip3::wit_future;

async fn handle(request: Request) -> Answer {
    let path = guests_03::query(&request).remove(0);
    let (folder, _) = get_directories().remove(0);
    let file = folder
        .open_at(
            PathFlags::empty(),
            path,
            OpenFlags::empty(),
            DescriptorFlags::READ,
        )
        .await
        .unwrap();
    let (contents, _) = file.read_via_stream(0);
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    Ok(Response::new(Fields::new(), Some(contents), no_trailers).0)
}

guests_03::guest!(handle);
