//! The API's own threads: it answers when those of the server are stuck.

use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::support::{LONG, start};

#[test]
fn a_server_whose_blocking_threads_are_stuck_is_still_controlled() {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (release, stuck) = mpsc::channel::<()>();
    runtime.block_on(async {
        let (_directory, server) = start();
        // As a read from a disk that hangs.
        drop(spawn_blocking(move || stuck.recv()));
        let controlled = async {
            server.get("/status/requests/total").await.is(200, "7\n");
            server.put("/config", "{}").await.done();
            server.get("/config").await.is(200, "{}\n");
            assert_eq!(server.get("/").await.status, 200);
            assert_eq!(server.get("/status/metrics").await.status, 200);
            assert_eq!(server.put("/certificates/a", "").await.status, 400);
        };
        timeout(LONG, controlled).await.unwrap();
    });
    drop(release);
    runtime.shutdown_timeout(Duration::from_secs(1));
}
