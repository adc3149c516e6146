//! Authorities, certificates, and `openssl`.

use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Parameters for a certificate of this common name, and these alternative names.
pub(crate) fn params(common_name: &str, alt_names: &[&str]) -> CertificateParams {
    let alt_names: Vec<_> = alt_names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(alt_names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    if !common_name.is_empty() {
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
    }
    params
}

/// A chain: the leaf's key, and certificates from the leaf to the root.
pub(crate) struct Chain {
    pub(crate) key: String,
    pub(crate) certificates: Vec<String>,
}

impl Chain {
    /// `names` are the common names, from the leaf's to the root's.
    pub(crate) fn new(names: &[&str]) -> Self {
        let (leaf, authorities) = names.split_first().unwrap();
        let mut issuer: Option<CertifiedIssuer<'_, KeyPair>> = None;
        let mut certificates = Vec::new();
        for name in authorities.iter().rev() {
            let mut params = params(name, &[]);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let made = match &issuer {
                None => CertifiedIssuer::self_signed(params, key),
                Some(issuer) => CertifiedIssuer::signed_by(params, key, issuer),
            };
            certificates.insert(0, made.as_ref().unwrap().pem());
            issuer = made.ok();
        }
        let key = KeyPair::generate().unwrap();
        let params = params(leaf, &[leaf]);
        let leaf = match &issuer {
            None => params.self_signed(&key),
            Some(issuer) => params.signed_by(&key, issuer),
        };
        certificates.insert(0, leaf.unwrap().pem());
        Self {
            key: key.serialize_pem(),
            certificates,
        }
    }

    pub(crate) fn der(&self) -> Vec<Vec<u8>> {
        let text = self.certificates.concat();
        let certificates = CertificateDer::pem_slice_iter(text.as_bytes());
        certificates.map(|it| it.unwrap().to_vec()).collect()
    }

    /// The bundle in the order of Unit's documentation: certificates, then the key.
    pub(crate) fn text(&self) -> String {
        self.certificates.concat() + &self.key
    }
}

/// A bundle of one self-signed certificate.
pub(crate) fn bundle(common_name: &str, alt_names: &[&str]) -> String {
    let key = KeyPair::generate().unwrap();
    let certificate = params(common_name, alt_names).self_signed(&key).unwrap();
    certificate.pem() + &key.serialize_pem()
}

/// Whether `openssl` is installed; prints that the test is skipped if it is not.
pub(crate) fn has_openssl() -> bool {
    let found = Command::new("openssl")
        .arg("version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: there is no `openssl`");
    }
    found
}

/// Runs `openssl` in a folder, by words between spaces.
pub(crate) fn openssl(folder: &Path, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
