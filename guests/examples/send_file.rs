//! Responds with the file `?PATH`, which the host reads.

use guests::wasip2::filesystem::preopens::get_directories;
use guests::wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use guests::wasip2::http::types::{IncomingRequest, OutgoingBody, ResponseOutparam};
use guests::wasip2::io::streams::StreamError;

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let path = guests::query(&request).remove(0);
    let (folder, _) = get_directories().remove(0);
    let file = folder
        .open_at(
            PathFlags::empty(),
            &path,
            OpenFlags::empty(),
            DescriptorFlags::READ,
        )
        .unwrap();
    let body = guests::begin(out, 200, &[]);
    let input = file.read_via_stream(0).unwrap();
    let output = body.write().unwrap();
    loop {
        match output.blocking_splice(&input, 64 * 1024) {
            Ok(_) => {}
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => panic!("{error:?}"),
        }
    }
    drop(output);
    OutgoingBody::finish(body, None).unwrap();
}

guests::guest!(handle);
