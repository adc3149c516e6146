//! What is presented to whom, and what becomes of open connections.

use certificates::{Bundle, Certificates, ServerTls, TlsError, TlsOptions};
use rcgen::KeyPair;
use rustls::version::TLS13;
use rustls::{AlertDescription, Error};

use crate::peer::{Client, VERSIONS, certificates};
use crate::support::{Chain, bundle, has_openssl, openssl, params};

fn server(bundles: &[(&str, &str)]) -> ServerTls {
    let names = bundles.iter().map(|(name, _)| *name);
    ServerTls::new(TlsOptions::new(names), &certificates(bundles)).unwrap()
}

#[test]
fn each_name_gets_its_certificate_and_others_get_the_first() {
    let server = server(&[
        ("default", &bundle("default", &[])),
        ("wildcard", &bundle("wildcard", &["*.example.com"])),
        (
            "whole",
            &bundle("whole", &["www.example.com", "ALT.example.org"]),
        ),
    ]);
    for version in VERSIONS {
        let client = Client::new(version);
        for (name, wanted) in [
            ("www.example.com", "whole"),
            ("WWW.Example.Com", "whole"),
            ("alt.example.org", "whole"),
            ("api.example.com", "wildcard"),
            ("a.b.example.com", "default"),
            ("example.com", "default"),
            ("default", "default"),
            // A client that asks for an address sends no name.
            ("10.0.0.1", "default"),
            ("::1", "default"),
        ] {
            let mut connection = client.connect(&server, name);
            assert_eq!(connection.presented(), wanted, "{name}");
            connection.talk();
        }
    }
}

#[test]
fn a_single_certificate_is_for_every_name() {
    let server = server(&[("a", &bundle("a", &["a.example"]))]);
    for name in ["a.example", "b.example", "10.0.0.1"] {
        assert_eq!(Client::new(&TLS13).connect(&server, name).presented(), "a");
    }
}

#[test]
fn the_whole_chain_is_presented_in_its_order() {
    let chain = Chain::new(&["leaf", "middle", "root"]);
    let server = server(&[("chain", &chain.text())]);
    for version in VERSIONS {
        let connection = Client::new(version).connect(&server, "leaf");
        let presented = connection.client.peer_certificates().unwrap();
        let presented: Vec<_> = presented.iter().map(|it| it.to_vec()).collect();
        assert_eq!(presented, chain.der());
    }
}

#[test]
fn the_largest_chain_is_presented() {
    let names: Vec<_> = (0..2300)
        .map(|number| format!("{number:04}.names.example.com"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let server = server(&[
        ("large", &bundle("large", &names)),
        ("b", &bundle("b", &[])),
    ]);
    for version in VERSIONS {
        let connection = Client::new(version).connect(&server, "2299.names.example.com");
        let bytes = connection.client.peer_certificates().unwrap()[0].len();
        assert!(bytes > Bundle::MAX_CHAIN * 85 / 100, "{bytes}");
    }
}

#[test]
fn alpn_prefers_http_2_and_accepts_every_version_of_http() {
    let server = server(&[("a", &bundle("a", &[]))]);
    for version in VERSIONS {
        for (offered, wanted) in [
            (&["http/1.1", "h2"][..], Some("h2")),
            (&["h2"], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&["http/1.0"], Some("http/1.0")),
            (&["spdy/1", "http/1.0", "http/1.1"], Some("http/1.1")),
            (&[], None),
        ] {
            let client = Client::with_protocols(version, offered);
            let connection = client.connect(&server, "a");
            let wanted = wanted.map(str::as_bytes);
            assert_eq!(connection.server.alpn_protocol(), wanted, "{offered:?}");
        }
        let client = Client::with_protocols(version, &["acme-tls/1"]);
        let error = client.try_connect(&server, "a").unwrap_err();
        assert_eq!(error, Error::NoApplicationProtocol);
    }
}

#[test]
fn every_kind_of_key_signs() {
    let mut bundles = Vec::new();
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        bundles.push(params("a", &[]).self_signed(&key).unwrap().pem() + &key.serialize_pem());
    }
    if has_openssl() {
        let folder = tempfile::tempdir().unwrap();
        let command = "req -x509 -new -newkey rsa:2048 -nodes -keyout - -subj /CN=a";
        bundles.push(openssl(folder.path(), command));
    }
    for bundle in bundles {
        let server = server(&[("a", &bundle)]);
        for version in VERSIONS {
            Client::new(version).connect(&server, "a").talk();
        }
    }
}

#[test]
fn replaced_certificates_are_presented_in_new_handshakes_and_old_connections_continue() {
    let names = ["a", "b"];
    let b = bundle("b", &["b.example"]);
    let old = certificates(&[("a", &bundle("old", &[])), ("b", &b)]);
    let new = certificates(&[("a", &bundle("new", &["other.example"])), ("b", &b)]);
    let server = ServerTls::new(TlsOptions::new(names), &old).unwrap();
    for version in VERSIONS {
        let client = Client::new(version);
        server.update(&old).unwrap();
        let mut connection = client.connect(&server, "a");
        assert_eq!(connection.presented(), "old");
        server.update(&new).unwrap();
        connection.talk();
        for (name, wanted) in [("a", "new"), ("other.example", "new"), ("b.example", "b")] {
            assert_eq!(client.connect(&server, name).presented(), wanted);
        }
        connection.talk();
    }
}

#[test]
fn a_handshake_in_progress_survives_a_replacement_of_certificates() {
    use rustls::{ClientConnection, ServerConnection};
    let old = certificates(&[("a", &bundle("old", &[]))]);
    let server = ServerTls::new(TlsOptions::new(["a"]), &old).unwrap();
    let config = Client::new(&TLS13).0;
    let mut client = ClientConnection::new(config, "a".try_into().unwrap()).unwrap();
    let mut serving = ServerConnection::new(server.config().clone()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    serving.read_tls(&mut &bytes[..]).unwrap();
    serving.process_new_packets().unwrap();
    server
        .update(&certificates(&[("a", &bundle("new", &[]))]))
        .unwrap();
    bytes.clear();
    while serving.wants_write() {
        serving.write_tls(&mut bytes).unwrap();
    }
    client.read_tls(&mut &bytes[..]).unwrap();
    client.process_new_packets().unwrap();
    assert!(!client.is_handshaking());
}

#[test]
fn a_missing_certificate_is_an_error_and_changes_nothing() {
    let both = certificates(&[("a", &bundle("a", &[])), ("b", &bundle("b", &["b"]))]);
    let one = certificates(&[("a", &bundle("other", &[]))]);
    let options = TlsOptions::new(["a", "b"]);
    let unknown = TlsError::Unknown("b".to_owned());
    assert_eq!(ServerTls::new(options.clone(), &one).unwrap_err(), unknown);
    let none = TlsOptions::new::<&str>([]);
    assert_eq!(ServerTls::new(none, &both).unwrap_err(), TlsError::None);

    let server = ServerTls::new(options, &both).unwrap();
    assert_eq!(server.update(&one), Err(unknown));
    assert!(server.update(&Certificates::default()).is_err());
    let client = Client::new(&TLS13);
    assert_eq!(client.connect(&server, "b").presented(), "b");
    assert_eq!(client.connect(&server, "x").presented(), "a");
}

#[test]
fn updates_and_handshakes_do_not_wait_for_each_other() {
    let old = certificates(&[("a", &bundle("old", &[]))]);
    let new = certificates(&[("a", &bundle("new", &[]))]);
    let server = ServerTls::new(TlsOptions::new(["a"]), &old).unwrap();
    std::thread::scope(|scope| {
        let handshakes = scope.spawn(|| {
            for _ in 0..100 {
                let presented = Client::new(&TLS13).connect(&server, "a").presented();
                assert!(["old", "new"].contains(&presented.as_str()));
            }
        });
        while !handshakes.is_finished() {
            server.update(&new).unwrap();
            server.update(&old).unwrap();
        }
    });
}

#[test]
fn a_name_that_sni_cannot_select_is_a_warning() {
    let server = server(&[
        ("a", &bundle("same.example", &[])),
        ("b", &bundle("", &["same.example"])),
    ]);
    let warnings: Vec<_> = server.warnings().iter().map(ToString::to_string).collect();
    let wanted = "the name \"same.example\" in the certificate \"b\" is ignored: \"a\", which \
                  is listed before, has this name, too";
    assert_eq!(warnings, [wanted]);
}

#[test]
fn garbage_ends_a_handshake_with_an_alert() {
    use rustls::ServerConnection;
    let server = server(&[("a", &bundle("a", &[]))]);
    for text in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "\u{16}\u{3}\u{1}\0\u{4}\u{1}\0\0\0",
    ] {
        let mut serving = ServerConnection::new(server.config().clone()).unwrap();
        serving.read_tls(&mut text.as_bytes()).unwrap();
        assert!(serving.process_new_packets().is_err(), "{text}");
        assert!(serving.wants_write());
        let mut alert = Vec::new();
        serving.write_tls(&mut alert).unwrap();
        assert_eq!(alert[0], 21);
        assert_ne!(alert[6], u8::from(AlertDescription::InternalError));
    }
}
