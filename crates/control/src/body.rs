//! A request's body, whole and within bounds.

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use crate::Limits;
use crate::answer::Failure;
use crate::quota::Quota;

/// The body of a request that may be read, or left.
pub(crate) struct RequestBody<'a> {
    pub(crate) incoming: Incoming,
    pub(crate) limits: &'a Limits,
    pub(crate) quota: &'a Quota,
    /// True once no change can be made any more.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// A body that has been read. It counts until it is dropped.
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
    /// Reads the body of a change. One that is announced to be too long is refused at once, and so is one whose
    /// bytes are too many as soon as they are: [`closing::close`](crate::closing::close) reads what else comes.
    pub(crate) async fn read(self) -> Result<Body, Failure> {
        let mut stopping = self.stopping.clone();
        select! {
            biased;
            body = self.read_all() => body,
            // There is nothing to be changed any more, however long the rest would take.
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
            // In chunks.
            None => limit,
        };
        if announced > limit {
            return Err(Failure::TooLarge { limit });
        }
        // All at once: bodies of which each has a part, and none gets the rest, would wait for each other.
        let mut room = quota.body(announced, limits).await?;
        let read = read(incoming, announced, limit);
        let bytes = timeout(limits.body_read, read)
            .await
            .unwrap_or(Err(Failure::BodyTimeout))?;
        // One in chunks was smaller than it might have been.
        let kept = bytes.len().min(room.num_permits());
        let _room = room.split(kept);
        Ok(Body { bytes, _room })
    }
}

async fn read(mut incoming: Incoming, announced: usize, limit: usize) -> Result<Vec<u8>, Failure> {
    // Memory that is not written to takes none.
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
