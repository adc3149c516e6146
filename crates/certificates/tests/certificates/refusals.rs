//! What TLS refuses: old versions, weak cipher suites, renegotiation and early data. The handshakes are in
//! memory, and built byte by byte if no client library would begin them.

use std::sync::Arc;
use std::time::Duration;

use certificates::{ServerTls, SessionOptions, Tickets, TlsOptions};
use rustls::client::ClientConnection;
use rustls::crypto::cipher::{
    InboundOpaqueMessage, OutboundChunks, OutboundPlainMessage, Tls12AeadAlgorithm,
};
use rustls::crypto::ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CipherSuite, ConnectionTrafficSecrets, ContentType, HandshakeKind,
    ProtocolVersion, ServerConnection, SupportedCipherSuite,
};

use crate::peer::{Client, certificates, config};
use crate::support::bundle;

const SSL_3: u16 = 0x0300;
const TLS_1_0: u16 = 0x0301;
const TLS_1_1: u16 = 0x0302;
const TLS_1_2: u16 = 0x0303;

/// A suite that the server takes.
const GOOD: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const FATAL: u8 = 2;
const SERVER_HELLO: u8 = 2;

fn server() -> ServerTls {
    ServerTls::new(
        TlsOptions::new(["a"]),
        &certificates(&[("a", &bundle("a", &[]))]),
    )
    .unwrap()
}

/// A record with the `ClientHello` of a client that speaks `version`, and in `supported_versions` those, if any.
fn client_hello(version: u16, supported: &[u16], suites: &[CipherSuite]) -> Vec<u8> {
    let mut hello = version.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.push(0);
    let suites: Vec<u8> = suites
        .iter()
        .flat_map(|suite| u16::from(*suite).to_be_bytes())
        .collect();
    hello.extend(with_length(&suites));
    // No compression.
    hello.extend([1, 0]);
    let mut extensions = Vec::new();
    // `supported_groups`: X25519 and P-256.
    extensions.extend(extension(10, &with_length(&[0, 29, 0, 23])));
    // `ec_point_formats`: uncompressed.
    extensions.extend(extension(11, &[1, 0]));
    // `signature_algorithms`: ECDSA with P-256, RSA-PSS and PKCS #1, each with SHA-256.
    extensions.extend(extension(13, &with_length(&[4, 3, 8, 4, 4, 1])));
    if !supported.is_empty() {
        let mut versions = vec![supported.len() as u8 * 2];
        versions.extend(supported.iter().flat_map(|it| it.to_be_bytes()));
        extensions.extend(extension(43, &versions));
    }
    hello.extend(with_length(&extensions));
    let mut record = vec![HANDSHAKE, 3, 1];
    record.extend(with_length(&handshake_message(&hello)));
    record
}

/// A handshake message of the type `client_hello`.
fn handshake_message(hello: &[u8]) -> Vec<u8> {
    let mut message = vec![1, 0];
    message.extend(with_length(hello));
    message
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    let mut extension = kind.to_be_bytes().to_vec();
    extension.extend(with_length(content));
    extension
}

/// With its length in two bytes in front.
fn with_length(content: &[u8]) -> Vec<u8> {
    let mut bytes = (content.len() as u16).to_be_bytes().to_vec();
    bytes.extend(content);
    bytes
}

/// What the server says to this record.
fn answer(server: &ServerTls, record: &[u8]) -> Vec<u8> {
    let mut serving = ServerConnection::new(Arc::clone(server.config())).unwrap();
    serving.read_tls(&mut &*record).unwrap();
    // The alert is what the client sees of an error.
    let _ = serving.process_new_packets();
    let mut answer = Vec::new();
    serving.write_tls(&mut answer).unwrap();
    answer
}

#[track_caller]
fn assert_alert(answer: &[u8], description: AlertDescription, what: &str) {
    let expected = [FATAL, u8::from(description)];
    assert_eq!(answer.first(), Some(&ALERT), "{what}: {answer:?}");
    assert_eq!(answer.get(5..), Some(&expected[..]), "{what}");
}

/// The suite that the server has chosen.
#[track_caller]
fn chosen_suite(answer: &[u8]) -> CipherSuite {
    assert_eq!((answer[0], answer[5]), (HANDSHAKE, SERVER_HELLO));
    // After the headers of record and message, the version and the random bytes stands a session id.
    let at = 9 + 2 + 32;
    let at = at + 1 + usize::from(answer[at]);
    CipherSuite::from(u16::from_be_bytes([answer[at], answer[at + 1]]))
}

#[test]
fn versions_before_tls_1_2_are_refused_with_a_protocol_version_alert() {
    let server = server();
    for version in [SSL_3, TLS_1_0, TLS_1_1] {
        for supported in [&[][..], &[version], &[TLS_1_1, TLS_1_0, SSL_3]] {
            let answer = answer(&server, &client_hello(version, supported, &[GOOD]));
            let what = format!("{version:#06x}, {supported:?}");
            assert_alert(&answer, AlertDescription::ProtocolVersion, &what);
        }
    }
    // The extension counts, where there is one (RFC 8446, section 4.2.1).
    let answer_to = |supported: &[u16]| answer(&server, &client_hello(TLS_1_2, supported, &[GOOD]));
    let old = answer_to(&[TLS_1_1, TLS_1_0]);
    assert_alert(&old, AlertDescription::ProtocolVersion, "an old extension");
    assert_eq!(chosen_suite(&answer_to(&[])), GOOD);
    assert_eq!(chosen_suite(&answer_to(&[TLS_1_1, TLS_1_2])), GOOD);
    for version in [&TLS12, &TLS13] {
        let connection = Client::new(version).connect(&server, "a");
        assert_eq!(connection.server.protocol_version(), Some(version.version));
    }
}

#[test]
fn a_client_with_weak_cipher_suites_alone_gets_a_handshake_failure_alert() {
    let server = server();
    let weak = [
        // Without encryption, without a certificate, for export, and with broken ciphers.
        CipherSuite::TLS_RSA_WITH_NULL_SHA256,
        CipherSuite::TLS_DH_anon_WITH_AES_128_CBC_SHA,
        CipherSuite::TLS_RSA_EXPORT_WITH_RC4_40_MD5,
        CipherSuite::TLS_ECDHE_RSA_WITH_RC4_128_SHA,
        CipherSuite::TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA,
        // Without forward secrecy, and with a group that the server chooses.
        CipherSuite::TLS_RSA_WITH_AES_128_CBC_SHA,
        CipherSuite::TLS_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_DHE_RSA_WITH_AES_128_GCM_SHA256,
        // With CBC.
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384,
    ];
    let answer_to = |suites: &[CipherSuite]| answer(&server, &client_hello(TLS_1_2, &[], suites));
    for suite in weak {
        let what = format!("{suite:?}");
        assert_alert(
            &answer_to(&[suite]),
            AlertDescription::HandshakeFailure,
            &what,
        );
    }
    assert_alert(&answer_to(&weak), AlertDescription::HandshakeFailure, "all");
    // One that is not weak is chosen, whatever stands before it.
    assert_eq!(
        chosen_suite(&answer_to(&[&weak[..], &[GOOD]].concat())),
        GOOD
    );
}

#[test]
fn all_cipher_suites_have_forward_secrecy_and_authenticated_encryption() {
    let server = server();
    let suites = &server.config().crypto_provider().cipher_suites;
    assert_eq!(suites.len(), 9, "{suites:?}");
    for suite in suites {
        let name = format!("{:?}", suite.suite());
        let has_forward_secrecy = match suite {
            SupportedCipherSuite::Tls13(_) => name.starts_with("TLS13_"),
            SupportedCipherSuite::Tls12(_) => name.starts_with("TLS_ECDHE_"),
        };
        assert!(has_forward_secrecy, "{name}");
        assert!(
            name.contains("_GCM_") || name.contains("_POLY1305_"),
            "{name}"
        );
    }
}

/// RFC 8446, section 4.2.10.
#[test]
fn no_session_is_offered_for_early_data() {
    let made = certificates(&[("a", &bundle("a", &[]))]);
    for (cache_size, tickets) in [(10, Tickets::Off), (0, Tickets::On), (10, Tickets::On)] {
        let options = TlsOptions {
            session: SessionOptions {
                cache_size,
                timeout: Duration::from_secs(300),
                tickets: tickets.clone(),
            },
            ..TlsOptions::new(["a"])
        };
        let server = ServerTls::new(options, &made).unwrap();
        assert_eq!(server.config().max_early_data_size, 0);
        let mut client = config(&TLS13, default_provider());
        client.enable_early_data = true;
        let client = Client(Arc::new(client));
        client.connect(&server, "a");
        // The client has a session, and no leave to send early data with it.
        let name = ServerName::try_from("a").unwrap();
        let mut next = ClientConnection::new(Arc::clone(&client.0), name).unwrap();
        assert!(next.early_data().is_none(), "{cache_size}, {tickets:?}");
        let next = client.connect(&server, "a");
        assert_eq!(next.client.handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(!next.client.is_early_data_accepted());
    }
}

/// The keys of one direction of a connection with ChaCha20-Poly1305, and its next sequence number.
struct Keys((u64, ConnectionTrafficSecrets));

impl Keys {
    fn algorithm() -> &'static dyn Tls12AeadAlgorithm {
        match TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 {
            SupportedCipherSuite::Tls12(suite) => suite.aead_alg,
            SupportedCipherSuite::Tls13(_) => panic!("it is one of TLS 1.2"),
        }
    }

    fn encrypt(self, kind: ContentType, content: &[u8]) -> Vec<u8> {
        let (number, ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = self.0 else {
            panic!("another cipher suite");
        };
        let mut encrypter = Self::algorithm().encrypter(key, iv.as_ref(), &[]);
        let message = OutboundPlainMessage {
            typ: kind,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(content),
        };
        encrypter.encrypt(message, number).unwrap().encode()
    }

    fn decrypt(self, record: &mut [u8]) -> Vec<u8> {
        let (number, ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = self.0 else {
            panic!("another cipher suite");
        };
        let mut decrypter = Self::algorithm().decrypter(key, iv.as_ref());
        let (header, payload) = record.split_at_mut(5);
        let kind = ContentType::from(header[0]);
        let message = InboundOpaqueMessage::new(kind, ProtocolVersion::TLSv1_2, payload);
        let message = decrypter.decrypt(message, number).unwrap();
        message.payload.to_vec()
    }
}

#[test]
fn renegotiation_is_refused_with_a_no_renegotiation_alert() {
    const WARNING: u8 = 1;
    let server = server();
    let mut provider = default_provider();
    provider.cipher_suites = vec![TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256];
    let mut client = config(&TLS12, provider);
    client.enable_secret_extraction = true;
    let connection = Client(Arc::new(client)).connect(&server, "a");
    let mut serving = connection.server;
    let secrets = connection.client.dangerous_extract_secrets().unwrap();

    // Another hello, on the connection itself.
    let hello = client_hello(TLS_1_2, &[], &[GOOD]);
    let record = Keys(secrets.tx).encrypt(ContentType::Handshake, &hello[5..]);
    serving.read_tls(&mut &*record).unwrap();
    serving.process_new_packets().unwrap();
    let mut answer = Vec::new();
    serving.write_tls(&mut answer).unwrap();
    assert_eq!(answer[0], ALERT);
    let alert = Keys(secrets.rx).decrypt(&mut answer);
    assert_eq!(
        alert,
        [WARNING, u8::from(AlertDescription::NoRenegotiation)]
    );
    assert!(!serving.is_handshaking());
}
