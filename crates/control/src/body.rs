//! A request's body, whole and within bounds.

use std::time::Duration;

use http::HeaderMap;
use http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::answer::Failure;

/// How many limits' worth of a body that is too long are read and thrown away.
/// A client that sends without listening would else see a broken connection and
/// not the answer.
const DISCARDED: usize = 4;

/// Reads a body of at most `limit` bytes in at most `time`.
pub(crate) async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    limit: usize,
    time: Duration,
) -> Result<Vec<u8>, Failure> {
    let declared = body.size_hint().lower();
    if headers.contains_key(EXPECT) && usize::try_from(declared).is_ok_and(|size| size > limit) {
        // The client asks before it sends: the answer is no.
        return Err(Failure::TooLarge { limit });
    }
    let whole = async {
        let mut kept = Vec::new();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            length += data.len();
            if length <= limit {
                kept.extend_from_slice(&data);
            } else if length / DISCARDED > limit {
                break;
            }
        }
        if length > limit {
            Err(Failure::TooLarge { limit })
        } else {
            Ok(kept)
        }
    };
    timeout(time, whole)
        .await
        .unwrap_or(Err(Failure::BodyTimeout))
}
