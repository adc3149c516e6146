//! Certificates, and clients of TLS.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use test_suite::{Client, Running, Socket};

/// A key and its certificate, which clients can be configured to trust.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    key: String,
}

impl Pair {
    /// For these names, the first of which is its common name.
    pub(crate) fn new(names: &[&str]) -> Self {
        let alt_names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(alt_names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    pub(crate) fn bundle(&self) -> String {
        self.certificate.clone() + &self.key
    }

    /// Uploads it.
    #[track_caller]
    pub(crate) fn upload(&self, server: &Running, name: &str) {
        let path = format!("/certificates/{name}");
        let (status, answer) = server.control("PUT", &path, &self.bundle());
        assert_eq!(status, 200, "{answer}");
    }

    /// Its certificate, as a file beside the server's.
    pub(crate) fn file(&self, server: &Running, name: &str) -> PathBuf {
        let path = server.directory().join(format!("{name}.pem"));
        fs::write(&path, &self.certificate).unwrap();
        path
    }

    /// A connection to a server that presents this certificate for `name`.
    #[track_caller]
    pub(crate) fn connect(&self, address: SocketAddr, name: &str) -> Client<TlsSocket> {
        Client::over(self.try_connect(address, name).unwrap())
    }

    /// The same, with a server that may present another one.
    pub(crate) fn try_connect(&self, address: SocketAddr, name: &str) -> Result<TlsSocket> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        roots.add(certificate.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.bound(test_suite::DEADLINE)?;
        connection.complete_io(&mut socket)?;
        Ok(TlsSocket(StreamOwned::new(connection, socket)))
    }
}

/// A connection with TLS. One that ends without a word of TLS is taken for reset.
pub(crate) struct TlsSocket(StreamOwned<ClientConnection, TcpStream>);

impl Read for TlsSocket {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => io::Error::from(ErrorKind::ConnectionReset),
            _ => error,
        })
    }
}

impl Write for TlsSocket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

impl Socket for TlsSocket {
    fn bound(&self, limit: Duration) -> Result<()> {
        self.0.sock.bound(limit)
    }
}

/// Whether `openssl` is installed. Prints a note if it is not.
pub(crate) fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        eprintln!("skipped: no openssl on this machine");
    }
    found
}

/// What `openssl s_client` says of a handshake, with these further arguments.
pub(crate) fn s_client(address: SocketAddr, directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    said
}

/// The configuration text of a listener with TLS.
pub(crate) fn listener(application: &str, tls: &str) -> String {
    format!(r#"{{"pass": "applications/{application}", "tls": {tls}}}"#)
}

/// A server of this guest with TLS on the address of its name, by this `tls`, and these certificates.
#[track_caller]
pub(crate) fn start(guest: &str, tls: &str, certificates: &[(&str, &Pair)]) -> Running {
    let mut server = Running::guests(&crate::support::Daemon, &[guest]);
    for (name, pair) in certificates {
        pair.upload(&server, name);
    }
    let path = format!("/config/listeners/{}", server.address(guest));
    let (status, answer) = server.put(&path, &listener(guest, tls));
    assert_eq!(status, 200, "{answer}");
    server
}
