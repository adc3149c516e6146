//! Reads a request's body completely, within the limits of size and time.

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use crate::Limits;
use crate::answer::Failure;
use crate::quota::Quota;

/// The body of a request, not read yet.
pub(crate) struct RequestBody<'a> {
    pub(crate) incoming: Incoming,
    pub(crate) limits: &'a Limits,
    pub(crate) quota: &'a Quota,
    /// True once changes are refused.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// A body that has been read. It counts towards the limit of all bodies until it is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Body {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl RequestBody<'_> {
    /// Reads the body of a change. Refuses a body as soon as its announced or received length exceeds the limit:
    /// [`closing::close`](crate::closing::close) discards the remainder.
    pub(crate) async fn read(self) -> Result<Body, Failure> {
        let mut stopping = self.stopping.clone();
        select! {
            biased;
            body = self.read_all() => body,
            // The change would be refused anyway, so the remainder is not waited for.
            _ = stopping.wait_for(|stopping| *stopping) => Err(Failure::Stopping),
        }
    }

    async fn read_all(self) -> Result<Body, Failure> {
        let Self {
            incoming,
            limits,
            quota,
            ..
        } = self;
        let limit = limits.body_size;
        let announced = match incoming.size_hint().exact() {
            Some(length) => usize::try_from(length).unwrap_or(usize::MAX),
            // Chunked, so the length is not known.
            None => limit,
        };
        if announced > limit {
            return Err(Failure::TooLarge { limit });
        }
        // The whole size at once: bodies that get room in parts could deadlock.
        let mut room = quota.body(announced, limits).await?;
        let read = read(incoming, announced, limit);
        let bytes = timeout(limits.body_read, read)
            .await
            .unwrap_or(Err(Failure::BodyTimeout))?;
        // A chunked body may be smaller than the room for it.
        let kept = bytes.len().min(room.num_permits());
        let _room = room.split(kept);
        Ok(Body { bytes, _room })
    }
}

async fn read(mut incoming: Incoming, announced: usize, limit: usize) -> Result<Vec<u8>, Failure> {
    // The system does not commit memory before it is written to.
    let mut bytes = Vec::with_capacity(announced);
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if data.len() > limit - bytes.len() {
            return Err(Failure::TooLarge { limit });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}
