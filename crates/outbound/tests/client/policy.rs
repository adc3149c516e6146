//! What is not called at all.

use http::Request;
use http_body_util::Empty;
use outbound::{Client, Error, Timeouts};
use outbound_policy::{DestinationError, Policy};

use crate::support::{Called as _, Upstream, client, get, policy, request, text, within};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn without_grants_every_request_is_denied() {
    let client = Client::new(Policy::default());
    for uri in [
        "http://127.0.0.1/",
        "http://user@a/",
        "/path",
        "ftp://a/",
        "http://2130706433/",
    ] {
        let error = get(&client, uri).await.unwrap_err();
        assert!(matches!(error, Error::Denied(_)), "{uri}: {error}");
    }
}

#[test]
fn a_client_needs_no_runtime_to_be_made() {
    let client = Client::new(policy(&["*"]));
    let future = client
        .clone()
        .send(request("http://127.0.0.1/"), Timeouts::default());
    drop(client);
    drop(future);
}

#[tokio::test]
async fn what_is_not_granted_is_denied_before_anything_is_connected() {
    let upstream = Upstream::replies(HELLO).await;
    let port = upstream.address.port();
    let denied = [
        (vec!["*".to_owned()], upstream.uri()),
        (vec![format!("https://127.0.0.1:{port}")], upstream.uri()),
        (vec!["http://127.0.0.1".to_owned()], upstream.uri()),
        (
            vec!["*".to_owned()],
            format!("http://[::ffff:127.0.0.1]:{port}/"),
        ),
        (vec!["*".to_owned()], format!("http://0.0.0.0:{port}/")),
    ];
    for (grants, uri) in denied {
        let grants: Vec<_> = grants.iter().map(String::as_str).collect();
        let error = get(&client(&grants), &uri).await.unwrap_err();
        assert!(
            matches!(error, Error::Denied(_)),
            "{grants:?} {uri}: {error}"
        );
    }
    assert_eq!(upstream.connections(), 0);
    assert_eq!(
        text(get(&upstream.client(), &upstream.uri()).await.unwrap())
            .await
            .unwrap(),
        "hello"
    );
}

#[tokio::test]
async fn ssrf_a_name_that_resolves_to_loopback_is_prohibited_under_a_wildcard() {
    let upstream = Upstream::replies(HELLO).await;
    let uri = format!("http://localhost:{}/", upstream.address.port());
    for grants in [
        &["*"][..],
        &["http://*:*"],
        &["*", "http://127.0.0.1:*", "http://localhost:1"],
    ] {
        let error = get(&client(grants), &uri).await.unwrap_err();
        assert!(
            matches!(&error, Error::AddressProhibited(name) if name == "localhost"),
            "{error}"
        );
    }
    assert_eq!(upstream.connections(), 0);

    let response = get(&client(&["http://localhost:*"]), &uri).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn ssrf_a_mapped_address_is_treated_as_the_ipv4_address() {
    let upstream = Upstream::replies(HELLO).await;
    let uri = format!("http://[::ffff:7f00:1]:{}/", upstream.address.port());
    let response = get(&upstream.client(), &uri).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn ssrf_odd_uris_are_refused() {
    let client = client(&["*", "http://127.0.0.1:*"]);
    for uri in [
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://a@127.0.0.1/",
    ] {
        let error = get(&client, uri).await.unwrap_err();
        assert!(matches!(error, Error::Uri(_)), "{uri}: {error}");
    }
    let error = get(&client, "/path").await.unwrap_err();
    assert!(
        matches!(error, Error::Uri(DestinationError::Scheme(_))),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let upstream = Upstream::replies(
        "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let response = get(&upstream.client(), &upstream.uri()).await.unwrap();
    assert_eq!(response.status(), 302);
    assert_eq!(response.headers()["location"], "http://169.254.169.254/");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn connect_and_upgrade_are_refused() {
    let upstream = Upstream::replies(HELLO).await;
    let client = upstream.client();
    let connect = Request::builder()
        .method("CONNECT")
        .uri(upstream.uri())
        .body(Empty::new())
        .unwrap();
    let error = within(client.send(connect, Timeouts::default()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Method), "{error}");
    let upgrade = Request::get(upstream.uri())
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Empty::new())
        .unwrap();
    let error = within(client.send(upgrade, Timeouts::default()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Upgrade), "{error}");
    assert_eq!(upstream.connections(), 0);
}
