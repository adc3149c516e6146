//! The limit on files that shares have open.

use std::time::Duration;

use http::Request;
use server::{ActionKind, Share};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{ENOUGH, Most, PATIENT, run, start_action, template};

const LONG: Duration = Duration::from_secs(20);

/// Files of a folder.
fn share(folder: &tempfile::TempDir) -> ActionKind {
    let path = format!("{}$uri", folder.path().display());
    ActionKind::Share(Share {
        paths: vec![template(&path)],
        chroot: None,
        files: static_files::Share::new(static_files::Options::default()),
        fallback: None,
    })
}

#[test]
fn files_that_clients_keep_open_over_http2_are_bounded_and_small_ones_are_still_served() {
    run(async {
        const FILES: usize = 8;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("large"), vec![b'x'; 300_000]).unwrap();
        std::fs::write(folder.path().join("small"), "small").unwrap();
        let most = Most {
            share_files: FILES,
            ..ENOUGH
        };
        let (_server, address) = start_action(share(&folder), PATIENT, most).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::Builder::new()
            .initial_window_size(1000)
            .handshake::<_, bytes::Bytes>(stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        let get = async |path: &str| {
            let mut client = client.clone().ready().await.unwrap();
            let request = Request::get(format!("http://a/{path}")).body(()).unwrap();
            let (response, _) = client.send_request(request, true).unwrap();
            timeout(LONG, response).await.unwrap().unwrap()
        };
        // None of them is read.
        let mut open = Vec::new();
        let refused = loop {
            let response = get("large").await;
            if response.status() != 200 {
                break response;
            }
            open.push(response);
            assert!(open.len() <= FILES);
        };
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        // A lookup that may have to wait takes three.
        assert!(open.len() >= FILES - 2, "{}", open.len());
        // What is in the kernel's caches is closed at once; it may have to be looked up once more for that.
        let small = async { while get("small").await.status() != 200 {} };
        timeout(LONG, small).await.unwrap();

        drop(open);
        let large = async {
            while get("large").await.status() != 200 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, large).await.unwrap();
    });
}

#[test]
fn a_file_that_is_read_to_its_end_is_closed_before_its_client_has_taken_it() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        // Two pieces, of which the client has room for less than one.
        std::fs::write(folder.path().join("file"), vec![b'x'; 70_000]).unwrap();
        let most = Most {
            share_files: 3,
            ..ENOUGH
        };
        let (_server, address) = start_action(share(&folder), PATIENT, most).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::Builder::new()
            .initial_window_size(66_000)
            .initial_connection_window_size(1 << 20)
            .handshake::<_, bytes::Bytes>(stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut responses = Vec::new();
        let all = async {
            while responses.len() < 10 {
                let mut client = client.clone().ready().await.unwrap();
                let request = Request::get("http://a/file").body(()).unwrap();
                let (response, _) = client.send_request(request, true).unwrap();
                let response = response.await.unwrap();
                if response.status() == 200 {
                    responses.push(response);
                } else {
                    sleep(Duration::from_millis(5)).await;
                }
            }
        };
        timeout(LONG, all).await.unwrap();
    });
}
