//! A client of rustls, and handshakes in memory.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use certificates::{Bundle, Certificates, ServerTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ServerConnection,
    SignatureScheme, SupportedProtocolVersion,
};

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A snapshot of these bundles.
pub(crate) fn certificates(bundles: &[(&str, &str)]) -> Certificates {
    let parse = |&(name, text): &(&str, &str)| {
        let bundle = Bundle::parse(text.as_bytes()).unwrap();
        (name.to_owned(), Arc::new(bundle))
    };
    bundles.iter().map(parse).collect()
}

/// A client that stores its sessions, and accepts every certificate whose key signs the handshake.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) Arc<ClientConfig>);

impl Client {
    pub(crate) fn new(version: &'static SupportedProtocolVersion) -> Self {
        Self::with_protocols(version, &[])
    }

    pub(crate) fn with_protocols(
        version: &'static SupportedProtocolVersion,
        protocols: &[&str],
    ) -> Self {
        let mut config = config(version, ring::default_provider());
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }

    pub(crate) fn connect(&self, server: &ServerTls, name: &str) -> Connection {
        self.try_connect(server, name).unwrap()
    }

    pub(crate) fn try_connect(&self, server: &ServerTls, name: &str) -> Result<Connection, Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = Connection {
            client: ClientConnection::new(Arc::clone(&self.0), name)?,
            server: ServerConnection::new(Arc::clone(server.config()))?,
        };
        connection.exchange()?;
        assert!(!connection.client.is_handshaking() && !connection.server.is_handshaking());
        Ok(connection)
    }

    /// Whether this server resumes a session of an earlier connection.
    pub(crate) fn resumes(&self, server: &ServerTls) -> bool {
        let connection = self.connect(server, "name.example");
        let kind = connection.server.handshake_kind();
        assert_eq!(connection.client.handshake_kind(), kind);
        kind == Some(HandshakeKind::Resumed)
    }
}

/// What such a client is configured with.
pub(crate) fn config(
    version: &'static SupportedProtocolVersion,
    provider: CryptoProvider,
) -> ClientConfig {
    let provider = Arc::new(provider);
    let verifier = Arc::new(AcceptAll(Arc::clone(&provider)));
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
}

impl Connection {
    /// Moves bytes in both directions until neither side has more to write.
    fn exchange(&mut self) -> Result<(), Error> {
        loop {
            let mut bytes = Vec::new();
            if self.client.wants_write() {
                self.client.write_tls(&mut bytes).unwrap();
                // Each call takes no more than a buffer holds.
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    self.server.read_tls(&mut rest).unwrap();
                    self.server.process_new_packets()?;
                }
            } else if self.server.wants_write() {
                self.server.write_tls(&mut bytes).unwrap();
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    self.client.read_tls(&mut rest).unwrap();
                    self.client.process_new_packets()?;
                }
            } else {
                return Ok(());
            }
        }
    }

    /// Sends data in both directions.
    pub(crate) fn talk(&mut self) {
        let mut heard = [0; 4];
        self.client.writer().write_all(b"ping").unwrap();
        self.exchange().unwrap();
        self.server.reader().read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"ping");
        self.server.writer().write_all(b"pong").unwrap();
        self.exchange().unwrap();
        self.client.reader().read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"pong");
    }

    /// The common name that was presented.
    pub(crate) fn presented(&self) -> String {
        let chain = self.client.peer_certificates().unwrap();
        common_name(&chain[0])
    }
}

/// By the bytes: 2.5.4.3, then a UTF-8 string. The issuer comes first, and is the same.
fn common_name(certificate: &CertificateDer<'_>) -> String {
    let marker = [0x06, 3, 0x55, 4, 3, 0x0c];
    let at = certificate
        .windows(marker.len())
        .position(|it| it == marker);
    let (length, rest) = certificate[at.unwrap() + marker.len()..]
        .split_first()
        .unwrap();
    String::from_utf8(rest[..usize::from(*length)].to_vec()).unwrap()
}

/// A clock that only `advance` moves.
#[derive(Debug, Default)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    pub(crate) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = 1_000_000_000 + self.0.load(Ordering::Relaxed);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

#[derive(Debug)]
struct AcceptAll(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
