//! Changes that overlap, fail half way, or outlive their client, and what is
//! there after a restart.

use std::fs;
use std::time::Duration;

use control::{Limits, PrepareError, RestoreError, Restored};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::support::{self, LONG, Server, WALKTHROUGH, request, start, state_path};

/// A configuration of one application.
fn one(name: &str) -> String {
    format!(r#"{{"applications":{{"{name}":{{"type":"wasm","module":"/c"}}}}}}"#)
}

fn type_of(name: &str) -> String {
    format!("/config/applications/{name}/type")
}

#[tokio::test]
async fn a_configuration_survives_a_restart() {
    let (directory, server) = start();
    server.put("/config", WALKTHROUGH).await.done();
    let before = server.get("/config").await.body;
    server.stop().await;

    let server = Server::start(directory.path(), Limits::default());
    let restored = server.control.restore().await.unwrap();
    assert_eq!(
        restored,
        Restored::Configuration {
            warnings: Vec::new()
        }
    );
    assert_eq!(server.notes.calls(), ["prepare wasm", "commit wasm"]);
    assert_eq!(server.get("/config").await.body, before);
}

#[tokio::test]
async fn nothing_persisted_is_nothing_restored() {
    let (_directory, server) = start();
    assert_eq!(server.control.restore().await.unwrap(), Restored::Nothing);
    assert_eq!(server.notes.calls(), [""; 0]);
}

#[tokio::test]
async fn a_configuration_that_cannot_be_restored_is_an_error_and_can_be_set_aside() {
    let (directory, server) = start();
    let file = state_path(&directory).join("conf.json");

    fs::write(&file, "{\n!").unwrap();
    let error = server.control.restore().await.unwrap_err();
    assert!(matches!(error, RestoreError::Load(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("conf.json\", line 2, column 1: "),
        "{error}"
    );

    fs::write(&file, r#"{"listeners":{"*:80":1}}"#).unwrap();
    let error = server.control.restore().await.unwrap_err();
    assert!(
        error.to_string().ends_with("(at \"/listeners/*:80\")"),
        "{error}"
    );

    fs::write(&file, one("a")).unwrap();
    let detail = "it is gone".to_owned();
    server
        .notes
        .refuse(Some(PrepareError { path: None, detail }));
    let error = server.control.restore().await.unwrap_err();
    assert!(matches!(error, RestoreError::Prepare { .. }), "{error}");

    assert_eq!(fs::read_to_string(&file).unwrap(), one("a"));
    let aside = server.control.set_aside().await.unwrap().unwrap();
    assert_eq!(fs::read_to_string(aside).unwrap(), one("a"));
    assert!(!file.exists());
}

#[tokio::test]
async fn a_configuration_that_cannot_be_stored_is_not_put_in_force() {
    let (directory, server) = start();
    server.put("/config", &one("old")).await.done();
    // A file in the directory's place fails writes even for root.
    let (state, moved) = (state_path(&directory), directory.path().join("moved"));
    fs::rename(&state, &moved).unwrap();
    fs::write(&state, "").unwrap();

    let answer = server.put("/config", &one("new")).await;
    assert_eq!(answer.status, 500);
    let start = "{\n\t\"error\": \"Failed to store configuration.\",\n\t\"detail\": \"Cannot ";
    assert!(answer.body.starts_with(start), "{}", answer.body);
    assert_eq!(server.notes.calls()[2..], ["prepare new", "undo new"]);
    assert_eq!(server.get(&type_of("old")).await.status, 200);
    assert_eq!(server.get(&type_of("new")).await.status, 404);
    assert_eq!(
        fs::read_to_string(moved.join("conf.json")).unwrap(),
        one("old")
    );

    fs::remove_file(&state).unwrap();
    fs::rename(&moved, &state).unwrap();
    server.put("/config", &one("new")).await.done();
}

#[tokio::test]
async fn a_configuration_that_cannot_be_prepared_is_not_stored() {
    let (directory, server) = start();
    server.put("/config", &one("old")).await.done();
    let detail = "address in use".to_owned();
    server
        .notes
        .refuse(Some(PrepareError { path: None, detail }));
    assert_eq!(server.put("/config", &one("new")).await.status, 500);
    let stored = fs::read_to_string(state_path(&directory).join("conf.json")).unwrap();
    assert_eq!(stored, one("old"));
}

#[tokio::test]
async fn changes_are_made_one_at_a_time_and_none_is_lost() {
    let (_directory, server) = start();
    server.put("/config", &one("first")).await.done();
    let application = r#"{"type":"wasm","module":"/c"}"#;
    let puts = (0..20).map(|number| {
        let (control, target) = (&server, format!("/config/applications/a{number}"));
        async move { control.put(&target, application).await.done() }
    });
    let mut running = Vec::new();
    for put in puts {
        running.push(Box::pin(put));
    }
    // Polled together, so that they overlap on the server.
    std::future::poll_fn(|cx| {
        running.retain_mut(|put| put.as_mut().poll(cx).is_pending());
        if running.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    let applications = server.control.config();
    let path = config::Path::parse("/applications").unwrap();
    assert_eq!(
        applications.at(&path).unwrap().as_object().unwrap().len(),
        21
    );
    let calls = server.notes.calls();
    for pair in calls.chunks(2) {
        assert_eq!(
            pair[0].strip_prefix("prepare "),
            pair[1].strip_prefix("commit ")
        );
    }
}

#[tokio::test]
async fn changes_are_made_in_the_order_of_their_arrival() {
    let (_directory, server) = start();
    let gate = server.notes.close_gate();
    let names: Vec<_> = (0..30).map(|number| format!("a{number:02}")).collect();
    let mut clients = Vec::new();
    for (number, name) in names.iter().enumerate() {
        // To read and to parse every third one takes longer.
        let variables = if number % 3 == 0 { 5000 } else { 0 };
        let variables: Vec<_> = (0..variables).map(|it| format!(r#""{it}":"""#)).collect();
        let body = format!(
            r#"{{"applications":{{"{name}":{{"type":"wasm","module":"/c","environment":{{{}}}}}}}}}"#,
            variables.join(",")
        );
        let mut client = server.connect().await;
        client
            .write_all(&request("PUT", "/config", body.as_bytes()))
            .await
            .unwrap();
        clients.push(client);
    }
    gate.add_permits(clients.len());
    for client in clients {
        support::read(client).await.done();
    }
    let calls = server.notes.calls();
    let commits = calls.iter().filter_map(|call| call.strip_prefix("commit "));
    assert_eq!(commits.collect::<Vec<_>>(), names);
}

#[tokio::test]
async fn a_reader_does_not_wait_for_a_slow_change() {
    let (_directory, server) = start();
    server.put("/config", &one("old")).await.done();
    let gate = server.notes.close_gate();
    let new = one("new");
    let change = server.put("/config", &new);
    let meanwhile = async {
        server.notes.until(&["prepare new"]).await;
        assert_eq!(server.get(&type_of("old")).await.status, 200);
        assert_eq!(server.get("/status/requests/total").await.status, 200);
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(change, meanwhile);
    answer.done();
    assert_eq!(server.get(&type_of("new")).await.status, 200);
}

#[tokio::test]
async fn a_change_is_finished_when_its_client_goes_away() {
    let (directory, server) = start();
    let gate = server.notes.close_gate();
    let mut client = server.connect().await;
    client
        .write_all(&request("PUT", "/config", one("a").as_bytes()))
        .await
        .unwrap();
    server.notes.until(&["prepare a"]).await;
    drop(client);
    tokio::time::sleep(Duration::from_millis(20)).await;
    gate.add_permits(1);
    server.notes.until(&["prepare a", "commit a"]).await;
    let stored = fs::read_to_string(state_path(&directory).join("conf.json")).unwrap();
    assert_eq!(stored, one("a"));
}

#[tokio::test]
async fn half_a_request_changes_nothing() {
    let (directory, server) = start();
    let mut client = server.connect().await;
    let request = request("PUT", "/config", one("a").as_bytes());
    client
        .write_all(&request[..request.len() - 1])
        .await
        .unwrap();
    drop(client);
    // The next change is made, and nothing came before it.
    server.put("/config", &one("b")).await.done();
    assert_eq!(server.notes.calls(), ["prepare b", "commit b"]);
    assert!(state_path(&directory).join("conf.json").exists());
}

#[tokio::test]
async fn graceful_shutdown_waits_for_the_change_in_progress() {
    let (_directory, mut server) = start();
    let gate = server.notes.close_gate();
    let notes = server.notes.clone();
    let mut waiting = server.connect().await;
    waiting
        .write_all(&request("PUT", "/config", one("a").as_bytes()))
        .await
        .unwrap();
    let mut gone = server.connect().await;
    notes.until(&["prepare a"]).await;
    gone.write_all(&request("PUT", "/config", one("b").as_bytes()))
        .await
        .unwrap();
    let idle = server.connect().await;
    // A request that is answered shows that those before it were accepted.
    assert_eq!(server.get("/config").await.status, 200);
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(gone);

    server.begin_stop();
    gate.add_permits(2);
    support::read(waiting).await.done();
    timeout(LONG, server.stopped()).await.unwrap();
    notes
        .until(&["prepare a", "commit a", "prepare b", "commit b"])
        .await;
    // A connection without a request does not hold up the shutdown.
    assert_eq!(support::read(idle).await.status, 0);
}

#[tokio::test]
async fn a_panic_in_the_runtime_is_an_answer_and_not_the_end() {
    let (_directory, server) = start();
    let gate = server.notes.close_gate();
    gate.close();
    server
        .put("/config", &one("a"))
        .await
        .is(500, "{\n\t\"error\": \"Internal error.\"\n}\n");
    let gate = server.notes.close_gate();
    gate.add_permits(1);
    server.put("/config", &one("b")).await.done();
}
