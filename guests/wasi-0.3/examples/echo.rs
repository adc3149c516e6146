//! Sends the request's body back piece by piece as it arrives, then its trailers.

use guests_03::wasip3::http::types::Request;
use guests_03::{Answer, Incoming};

async fn handle(request: Request) -> Answer {
    let fields = [
        ("content-type", "application/octet-stream"),
        ("trailer", "x-checksum"),
    ];
    let (response, mut outgoing) = guests_03::begin(200, &fields);
    let mut incoming = Incoming::of(request);
    guests_03::wasip3::spawn_local(async move {
        while let Some(piece) = incoming.read(64 * 1024).await {
            assert!(outgoing.write(&piece).await, "the host takes no more");
        }
        outgoing.finish(incoming.finish().await.unwrap()).await;
    });
    Ok(response)
}

guests_03::guest!(handle);
