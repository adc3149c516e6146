//! `/certificates`: what each request is answered, and what it does to the configuration in force.

use std::time::Duration;

use control::{Limits, PrepareError};
use rcgen::{CertificateParams, DnType, KeyPair};

use crate::support::{Answer, Server, start};

const MISSING: &str = "{\n\t\"error\": \"Certificate doesn't exist.\"\n}\n";
const IN_USE: &str = "{\n\t\"error\": \"Certificate is used in the configuration.\"\n}\n";

fn bundle(name: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.self_signed(&key).unwrap().pem() + &key.serialize_pem()
}

async fn upload(server: &Server, name: &str) {
    let target = format!("/certificates/{name}");
    let answer = server.put(&target, &bundle("example.com")).await;
    answer.is(
        200,
        "{\n\t\"success\": \"Certificate chain uploaded.\"\n}\n",
    );
}

async fn delete(server: &Server, name: &str) -> Answer {
    server
        .send("DELETE", &format!("/certificates/{name}"), "")
        .await
}

/// A listener with these certificates.
fn listener(certificate: &str) -> String {
    format!(
        r#"{{"listeners":{{"*:443":{{"pass":"applications/a","tls":{{"certificate":{certificate}}}}}}},
            "applications":{{"a":{{"type":"wasm","module":"/c"}}}}}}"#
    )
}

#[tokio::test]
async fn a_bundle_is_uploaded_shown_and_deleted() {
    let (_directory, server) = start();
    server.get("/certificates").await.is(200, "{}\n");
    upload(&server, "bundle").await;
    upload(&server, "a%20b").await;
    for target in ["/certificates", "/certificates/", "/"] {
        let answer = server.get(target).await;
        assert!(answer.body.contains("\"bundle\": {\n"), "{}", answer.body);
        assert!(answer.body.contains("\"a b\": {\n"), "{}", answer.body);
    }
    let answer = server.get("/certificates/bundle").await;
    let head = "{\n\t\"key\": \"ECDH\",\n\t\"chain\": [\n\t\t{\n\t\t\t\"subject\": {\n\
                \t\t\t\t\"common_name\": \"example.com\",\n\
                \t\t\t\t\"alt_names\": [\n\t\t\t\t\t\"example.com\"\n\t\t\t\t]\n\t\t\t},\n\n\
                \t\t\t\"issuer\": {\n\t\t\t\t\"common_name\": \"example.com\"\n\t\t\t},\n\n\
                \t\t\t\"validity\": {\n\t\t\t\t\"since\": \"Jan  1 00:00:00 1975 GMT\",\n\
                \t\t\t\t\"until\": \"Jan  1 00:00:00 4096 GMT\"\n\t\t\t}\n\t\t}\n\t]\n}\n";
    answer.is(200, head);
    let below = |path: &str| format!("/certificates/bundle/{path}");
    let name = server.get(&below("chain/0/subject/alt_names/0/")).await;
    name.is(200, "\"example.com\"\n");
    server.get(&below("key")).await.is(200, "\"ECDH\"\n");
    for path in ["chain/1", "keys", "chain/0/subject/country"] {
        let answer = server.get(&below(path)).await;
        answer.is(404, "{\n\t\"error\": \"Invalid path.\"\n}\n");
    }
    server.get("/certificates/other").await.is(404, MISSING);

    let gone = "{\n\t\"success\": \"Certificate deleted.\"\n}\n";
    delete(&server, "bundle").await.is(200, gone);
    delete(&server, "bundle").await.is(404, MISSING);
    delete(&server, "a%20b").await.is(200, gone);
    server.get("/certificates").await.is(200, "{}\n");
    // None of them was in use.
    assert_eq!(server.notes.calls(), [""; 0]);
}

#[tokio::test]
async fn what_is_no_bundle_or_has_no_name_is_refused() {
    let (_directory, server) = start();
    let text = bundle("a");
    let answer = server.put("/certificates/a", "").await;
    assert_eq!(answer.status, 400);
    let start = "{\n\t\"error\": \"Invalid certificate.\",\n\t\"detail\": \"";
    assert!(answer.body.starts_with(start), "{}", answer.body);
    for (target, method) in [
        ("/certificates", "PUT"),
        ("/certificates", "DELETE"),
        ("/certificates", "POST"),
        ("/certificates/a/chain", "PUT"),
        ("/certificates/a/chain", "DELETE"),
    ] {
        let answer = server.send(method, target, &text).await;
        answer.is(400, "{\n\t\"error\": \"Invalid certificate name.\"\n}\n");
    }
    let answer = server.put("/certificates/.a", &text).await;
    assert_eq!(answer.status, 400);
    let detail = "\"detail\": \"A certificate's name must not begin with a dot.\"";
    assert!(answer.body.contains(detail), "{}", answer.body);
    assert_eq!(server.put("/certificates/a%2Fb", &text).await.status, 400);

    let answer = server.send("POST", "/certificates/a", &text).await;
    answer.is(405, "{\n\t\"error\": \"Invalid method.\"\n}\n");
    assert!(answer.head.contains("allow: get, put, delete"));
    server.get("/certificates").await.is(200, "{}\n");
}

#[tokio::test]
async fn a_second_bundle_of_a_name_is_refused_unless_it_is_to_replace_the_first() {
    let (_directory, server) = start();
    let replace = async |name: &str, text: &str| {
        let head = format!(
            "PUT /certificates/{name} HTTP/1.1\r\nHost: a\r\nIf-Match: *\r\n\
             Content-Length: {}\r\n\r\n{text}",
            text.len()
        );
        server.raw(head.as_bytes()).await
    };
    replace("a", &bundle("new.example")).await.is(412, MISSING);
    upload(&server, "a").await;
    let answer = server.put("/certificates/a", &bundle("new.example")).await;
    assert_eq!(answer.status, 400);
    let title = "\"error\": \"Certificate already exists.\"";
    assert!(answer.body.contains(title), "{}", answer.body);
    // As in Unit, that is asked first.
    let answer = server.put("/certificates/a", "nonsense").await;
    assert!(answer.body.contains(title), "{}", answer.body);

    let path = "/certificates/a/chain/0/subject/common_name";
    server.get(path).await.is(200, "\"example.com\"\n");
    assert_eq!(replace("a", "nonsense").await.status, 400);
    server.get(path).await.is(200, "\"example.com\"\n");
    assert_eq!(replace("a", &bundle("new.example")).await.status, 200);
    server.get(path).await.is(200, "\"new.example\"\n");
    assert_eq!(server.notes.calls(), [""; 0]);

    // One that is in use is put in force.
    server.put("/config", &listener("\"a\"")).await.done();
    assert_eq!(replace("a", &bundle("third.example")).await.status, 200);
    let calls = ["prepare a", "commit a", "prepare a", "commit a"];
    assert_eq!(server.notes.calls(), calls);
    server.notes.refuse(Some(PrepareError {
        path: None,
        detail: "it is late".to_owned(),
    }));
    let answer = replace("a", &bundle("fourth.example")).await;
    assert_eq!(answer.status, 200);
    let warning = "the certificate is not in use yet: cannot apply the configuration: it is late";
    assert!(answer.body.contains(warning), "{}", answer.body);
}

#[tokio::test]
async fn a_certificate_in_use_is_not_deleted() {
    let (_directory, server) = start();
    for name in ["a", "b", "c"] {
        upload(&server, name).await;
    }
    server
        .put("/config", &listener(r#"["a","b"]"#))
        .await
        .done();
    delete(&server, "a").await.is(400, IN_USE);
    delete(&server, "b").await.is(400, IN_USE);
    assert_eq!(delete(&server, "c").await.status, 200);
    let named = "/config/listeners/*:443/tls/certificate";
    server.put(named, "\"b\"").await.done();
    assert_eq!(delete(&server, "a").await.status, 200);
    delete(&server, "b").await.is(400, IN_USE);
}

#[tokio::test]
async fn a_certificate_that_is_not_there_is_named_with_its_place() {
    let (_directory, server) = start();
    upload(&server, "a").await;
    let answer = server.put("/config", &listener(r#"["a","b"]"#)).await;
    answer.is(
        400,
        "{\n\t\"error\": \"Invalid configuration.\",\n\
         \t\"detail\": \"Certificate \\\"b\\\" is not found.\",\n\
         \t\"location\": {\n\t\t\"path\": \"/listeners/*:443/tls/certificate/1\"\n\t}\n}\n",
    );
    assert_eq!(server.notes.calls(), [""; 0]);
}

#[tokio::test]
async fn certificates_outlive_a_restart_and_a_damaged_one_hinders_nothing() {
    let (directory, server) = start();
    upload(&server, "a").await;
    upload(&server, "b").await;
    server
        .put("/config", &listener(r#"["a","b"]"#))
        .await
        .done();
    server.stop().await;
    let file = directory.path().join("state/certs/b");
    std::fs::write(&file, "damaged").unwrap();

    let server = Server::start(directory.path(), Limits::default());
    assert!(server.control.restore().await.is_ok());
    assert_eq!(server.get("/certificates/a/key").await.status, 200);
    server.get("/certificates/b").await.is(404, MISSING);
    // It is in use still, but others can be added.
    delete(&server, "b").await.is(400, IN_USE);
    let named = "/config/listeners/*:443/tls/certificate";
    server.put(named, r#"["b","a","a"]"#).await.done();
    assert_eq!(server.put(named, r#"["c"]"#).await.status, 400);
    upload(&server, "b").await;
    assert_eq!(server.get("/certificates/b/key").await.status, 200);
}

#[tokio::test]
async fn changes_of_certificates_and_of_the_configuration_wait_for_each_other() {
    let (_directory, server) = start();
    upload(&server, "a").await;
    let gate = server.notes.close_gate();
    let text = listener("\"a\"");
    let (change, deleted) = tokio::join!(server.put("/config", &text), async {
        server.notes.until(&["prepare a"]).await;
        let open = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            gate.add_permits(1);
        };
        tokio::join!(delete(&server, "a"), open).0
    });
    change.done();
    deleted.is(400, IN_USE);
}
