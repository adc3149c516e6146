//! What each request is answered, byte for byte.

use control::PrepareError;

use crate::support::{Server, WALKTHROUGH, start};

const EMPTY: &str = "{\n\t\"listeners\": {},\n\t\"routes\": [],\n\t\"applications\": {}\n}\n";
const NOT_FOUND: &str = "{\n\t\"error\": \"Value doesn't exist.\"\n}\n";
const NOT_ALLOWED: &str = "{\n\t\"error\": \"Method isn't allowed.\"\n}\n";
const INVALID_METHOD: &str = "{\n\t\"error\": \"Invalid method.\"\n}\n";

#[tokio::test]
async fn the_walkthrough_is_put_as_it_stands() {
    let (_directory, server) = start();
    let answer = server.put("/config/", WALKTHROUGH).await;
    answer.done();
    for field in [
        "content-type: application/json",
        "content-length: ",
        "date: ",
        "connection: close",
    ] {
        assert!(
            answer.head.contains(field),
            "{field} is missing in {}",
            answer.head
        );
    }
    assert_eq!(server.notes.calls(), ["prepare wasm", "commit wasm"]);
    server.get("/config/listeners").await.is(
        200,
        "{\n\t\"127.0.0.1:8080\": {\n\t\t\"pass\": \"applications/wasm\"\n\t}\n}\n",
    );
    server
        .get("/config/applications/wasm/module")
        .await
        .is(200, "\"/path/to/example.component.wasm\"\n");
}

#[tokio::test]
async fn a_server_starts_with_units_empty_configuration() {
    let (_directory, server) = start();
    for target in [
        "/config",
        "/config/",
        "/config//",
        "http://localhost/config?a=b",
        "/%63onfig",
    ] {
        server.get(target).await.is(200, EMPTY);
    }
    assert_eq!(server.notes.calls(), [""; 0]);
}

#[tokio::test]
async fn the_root_shows_certificates_configuration_and_status() {
    let (_directory, server) = start();
    let answer = server.get("/").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .body
            .starts_with("{\n\t\"certificates\": {},\n\t\"config\": {\n\t\t\"listeners\": {},\n"),
        "{}",
        answer.body
    );
    assert!(
        answer
            .body
            .contains("\n\t},\n\n\t\"status\": {\n\t\t\"modules\": {\n"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn the_status_is_in_units_form_at_every_level() {
    let (_directory, server) = start();
    let status = server.get("/status").await;
    let beginning = "{\n\t\"modules\": {\n\t\t\"wasm\": {\n\t\t\t\"version\": \"48\",\n\t\t\t\"lib\": \"built in\"\n\
         \t\t}\n\t},\n\n\t\"connections\": {\n\t\t\"accepted\": 5,\n\t\t\"active\": 1,\n\
         \t\t\"idle\": 2,\n\t\t\"closed\": 2\n\t},\n\n\t\"requests\": {\n\t\t\"total\": 7\n\t},\n\n\
         \t\"instances\": {\n\t\t\"active\": 2,\n\t\t\"limit\": 16,\n\t\t\"pooled\": true,\n\
         \t\t\"memory\": {\n\t\t\t\"current\": 3,\n\t\t\t\"limit\": 1073741824\n\t\t}\n\t},\n\n\
         \t\"memory\": {\n\t\t\"resident\": 4096,\n\t\t\"instances\": 3,\n\
         \t\t\"held_for_clients\": {\n\t\t\t\"current\": 11,\n\t\t\t\"limit\": 12,\n\
         \t\t\t\"ended_connections\": 13\n\t\t}\n\t},\n\n\
         \t\"applications\": {\n\t\t\"a/b\": {\n\t\t\t\"processes\": {\n\t\t\t\t\"running\": 1,\n\
         \t\t\t\t\"starting\": 0,\n\t\t\t\t\"idle\": 1\n\t\t\t},\n\n\t\t\t\"requests\": {\n\
         \t\t\t\t\"active\": 1\n\t\t\t},\n\n\t\t\t\"instances\": {\n";
    assert!(status.body.starts_with(beginning), "{}", status.body);
    for (path, value) in [
        ("requests/active/", "1"),
        ("processes/running", "1"),
        ("instances/active", "1"),
        ("instances/started", "8"),
        ("instances/memory", "{\n\t\"current\": 3,\n\t\"peak\": 6\n}"),
        ("instances/execution_time", "2.000500"),
        ("instances/responses/5xx", "2"),
        ("instances/cut_off", "1"),
        ("instances/failures/trap", "2"),
    ] {
        let path = format!("/status/applications/a%2fb/{path}");
        server.get(&path).await.is(200, &format!("{value}\n"));
    }
    for unknown in ["/status/x", "/status/metrics/x"] {
        let answer = server.get(unknown).await;
        answer.is(404, "{\n\t\"error\": \"Invalid path.\"\n}\n");
    }
}

#[tokio::test]
async fn unknown_paths_are_404_whatever_the_method() {
    let (_directory, server) = start();
    for target in [
        "/x",
        "/configs",
        "/statuses",
        "/certificate",
        "/control",
        "/control/x/y",
    ] {
        server.get(target).await.is(404, NOT_FOUND);
    }
    server.put("/x", "{}").await.is(404, NOT_FOUND);
    server.get("/config/listeners/x").await.is(404, NOT_FOUND);
}

#[tokio::test]
async fn wrong_methods_are_405_and_say_which_are_right() {
    let (_directory, server) = start();
    for (method, target, body, allowed) in [
        ("POST", "/", INVALID_METHOD, "get"),
        ("PUT", "/status", INVALID_METHOD, "get"),
        ("DELETE", "/status/x", INVALID_METHOD, "get"),
        ("PUT", "/status/metrics", INVALID_METHOD, "get"),
        ("POST", "/config", NOT_ALLOWED, "get, put, delete"),
        ("PATCH", "/config", NOT_ALLOWED, "get, put, delete"),
        ("PATCH", "/config/x", NOT_ALLOWED, "get, put, post, delete"),
        ("POST", "/config/listeners", NOT_ALLOWED, "get, put, delete"),
        (
            "POST",
            "/control/applications/a/restart",
            NOT_ALLOWED,
            "get",
        ),
    ] {
        let answer = server.send(method, target, "1").await;
        answer.is(405, body);
        assert!(
            answer.head.ends_with(&format!("\r\nallow: {allowed}"))
                || answer.head.contains(&format!("\r\nallow: {allowed}\r\n")),
            "{}",
            answer.head
        );
    }
    // As in Unit, HEAD is no GET.
    server.send("HEAD", "/config", "").await.is(405, "");
}

#[tokio::test]
async fn broken_paths_are_refused() {
    let (_directory, server) = start();
    for (target, detail) in [
        (
            "/config/%2",
            "A percent sign is not followed by two hexadecimal digits.",
        ),
        ("/config/%00", "The path contains a null character."),
        ("/config/%FF", "The decoded path is not UTF-8."),
        (
            "/config/../..",
            r#"The path contains a \".\" or \"..\" segment."#,
        ),
        (
            "/config/routes/..%2F..%2Fstatus%2Fx/%2E%2e/metrics",
            r#"The path contains a \".\" or \"..\" segment."#,
        ),
    ] {
        let body = format!("{{\n\t\"error\": \"Invalid path.\",\n\t\"detail\": \"{detail}\"\n}}\n");
        server.get(target).await.is(400, &body);
    }
}

#[tokio::test]
async fn bad_json_is_located() {
    let (_directory, server) = start();
    server.put("/config", "{\r\n\t\"listeners\": {}\r\n\t\"é\" }").await.is(
        400,
        "{\n\t\"error\": \"Invalid JSON.\",\n\t\"detail\": \"A comma , or a closing brace } is expected \
         here, after an object member.\",\n\t\"location\": {\n\t\t\"offset\": 22,\n\t\t\"line\": 3,\n\
         \t\t\"column\": 2\n\t}\n}\n",
    );
    // JSON is looked at before the path, as in Unit.
    assert_eq!(server.put("/config/x/y", "").await.status, 400);
    assert_eq!(server.notes.calls(), [""; 0]);
}

#[tokio::test]
async fn bad_content_is_named_by_its_path() {
    let (_directory, server) = start();
    server.put("/config", r#"{"listeners": {"*:80": {"pass": "applications/x"}}}"#).await.is(
        400,
        "{\n\t\"error\": \"Invalid configuration.\",\n\t\"detail\": \"Request \\\"pass\\\" points to \
         invalid location \\\"applications/x\\\".\",\n\t\"location\": {\n\
         \t\t\"path\": \"/listeners/*:80/pass\"\n\t}\n}\n",
    );
    server.put("/config/aplications", "{}").await.is(
        400,
        "{\n\t\"error\": \"Invalid configuration.\",\n\t\"detail\": \"Unknown parameter \
         \\\"aplications\\\".\",\n\t\"location\": {\n\t\t\"path\": \"\"\n\t},\n\n\
         \t\"suggestion\": \"applications\"\n}\n",
    );
    server.get("/config").await.is(200, EMPTY);
}

#[tokio::test]
async fn an_option_without_effect_is_a_warning() {
    let (_directory, server) = start();
    let body = r#"{"applications": {"a": {"type": "wasm", "module": "/c", "processes": 2}}}"#;
    server.put("/config", body).await.is(
        200,
        "{\n\t\"success\": \"Reconfiguration done.\",\n\t\"warnings\": [\n\
         \t\t\"/applications/a/processes: one process serves all applications, so this has no \
         effect\"\n\t]\n}\n",
    );
}

async fn configured() -> (tempfile::TempDir, Server) {
    let (directory, server) = start();
    server.put("/config", WALKTHROUGH).await.done();
    (directory, server)
}

#[tokio::test]
async fn edits_reach_below_the_root() {
    let (_directory, server) = configured().await;
    let application = r#"{"type": "wasm-wasi-component", "component": "/c"}"#;
    server
        .put("/config/applications/b%2Fc", application)
        .await
        .done();
    server
        .put(
            "/config/listeners/%5B::1%5D:80",
            r#"{"pass": "applications/b%2Fc"}"#,
        )
        .await
        .done();
    server
        .put(
            "/config/listeners/127.0.0.1:8080/pass",
            "\"applications/b%2Fc\"",
        )
        .await
        .done();
    server
        .send("DELETE", "/config/applications/wasm", "")
        .await
        .done();
    server.get("/config").await.is(
        200,
        "{\n\t\"listeners\": {\n\t\t\"127.0.0.1:8080\": {\n\t\t\t\"pass\": \"applications/b%2Fc\"\n\
         \t\t},\n\n\t\t\"[::1]:80\": {\n\t\t\t\"pass\": \"applications/b%2Fc\"\n\t\t}\n\t},\n\n\
         \t\"applications\": {\n\t\t\"b/c\": {\n\t\t\t\"type\": \"wasm-wasi-component\",\n\
         \t\t\t\"component\": \"/c\"\n\t\t}\n\t}\n}\n",
    );
}

#[tokio::test]
async fn what_others_rely_on_cannot_be_deleted() {
    let (_directory, server) = configured().await;
    let answer = server.send("DELETE", "/config/applications", "").await;
    assert_eq!(answer.status, 400);
    assert!(
        answer
            .body
            .contains("invalid location \\\"applications/wasm\\\""),
        "{}",
        answer.body
    );
    server
        .get("/config/applications/wasm/type")
        .await
        .is(200, "\"wasm\"\n");
}

#[tokio::test]
async fn arrays_are_appended_to() {
    let (_directory, server) = configured().await;
    // The edit succeeds; the check refuses its result.
    server.put("/config/routes", "[]").await.done();
    let answer = server.send("POST", "/config/routes", "{}").await;
    assert_eq!(answer.status, 400);
    assert!(
        answer
            .body
            .contains("Required parameter \\\"action\\\" is missing."),
        "{}",
        answer.body
    );
    server
        .send("POST", "/config/applications/wasm/type", "1")
        .await
        .is(405, NOT_ALLOWED);
    server
        .send("POST", "/config/upstreams", "{}")
        .await
        .is(404, NOT_FOUND);
    server
        .put("/config/routes/1", "{}")
        .await
        .is(404, NOT_FOUND);
    server.put("/config/a/b", "{}").await.is(404, NOT_FOUND);
    server
        .send("DELETE", "/config/a", "")
        .await
        .is(404, NOT_FOUND);
}

#[tokio::test]
async fn deleting_the_root_leaves_an_empty_object() {
    let (_directory, server) = configured().await;
    server.send("DELETE", "/config", "").await.done();
    server.get("/config").await.is(200, "{}\n");
    assert_eq!(server.notes.calls()[2..], ["prepare ", "commit "]);
}

#[tokio::test]
async fn a_configuration_that_cannot_be_served_is_an_error_and_changes_nothing() {
    let (_directory, server) = configured().await;
    let path = ["applications", "wasm", "module"].into_iter().collect();
    let detail = "no such file \"/c\"".to_owned();
    server.notes.refuse(Some(PrepareError {
        path: Some(path),
        detail,
    }));
    server
        .put("/config/applications/wasm/module", "\"/c\"")
        .await
        .is(
            500,
            "{\n\t\"error\": \"Failed to apply new configuration.\",\n\t\"detail\": \"no such file \
         \\\"/c\\\"\",\n\t\"location\": {\n\t\t\"path\": \"/applications/wasm/module\"\n\t}\n}\n",
        );
    assert_eq!(server.notes.calls()[1..], ["commit wasm", "prepare wasm"]);
    let module = server.get("/config/applications/wasm/module").await;
    module.is(200, "\"/path/to/example.component.wasm\"\n");
}

#[tokio::test]
async fn an_application_is_restarted_by_its_name() {
    let (_directory, server) = configured().await;
    let application = r#"{"type": "wasm", "module": "/c"}"#;
    server
        .put("/config/applications/b%2Fc", application)
        .await
        .done();
    let ok = "{\n\t\"success\": \"Ok\"\n}\n";
    server
        .get("/control/applications/wasm/restart")
        .await
        .is(200, ok);
    server
        .get("/control/applications/b%2Fc/restart/")
        .await
        .is(200, ok);
    server
        .get("/control/applications/x/restart")
        .await
        .is(404, NOT_FOUND);
    server.notes.refuse(Some(PrepareError {
        path: None,
        detail: "it is gone".to_owned(),
    }));
    server.get("/control/applications/wasm/restart").await.is(
        500,
        "{\n\t\"error\": \"Failed to restart app.\",\n\t\"detail\": \"it is gone\"\n}\n",
    );
    assert_eq!(
        server.notes.calls()[4..],
        ["restart wasm", "restart b/c", "restart wasm"]
    );
}

#[tokio::test]
async fn unitctl_gets_the_location_in_the_detail_since_it_reads_only_texts() {
    let (_directory, server) = start();
    let put = async |body: &str| {
        let head = format!(
            "PUT /config HTTP/1.1\r\nHost: a\r\nUser-Agent: Unit CLI/1.36.0/rust\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        server.raw(head.as_bytes()).await
    };
    put(r#"{"listeners": {"*:80": {"pass": "routes"}}}"#)
        .await
        .is(
            400,
            "{\n\t\"error\": \"Invalid configuration.\",\n\t\"detail\": \"Request \\\"pass\\\" points to \
             invalid location \\\"routes\\\". (at \\\"/listeners/*:80/pass\\\")\"\n}\n",
        );
    let answer = put("{\n}}").await;
    assert!(
        answer.body.contains("(line 2, column 2)"),
        "{}",
        answer.body
    );
    assert!(!answer.body.contains("location"), "{}", answer.body);
    let answer = put(r#"{"x": 1}"#).await;
    let detail = "\"detail\": \"Unknown parameter \\\"x\\\".\"\n";
    assert!(answer.body.contains(detail), "{}", answer.body);
}
