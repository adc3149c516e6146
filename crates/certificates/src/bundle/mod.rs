//! A bundle: a private key and its certificate chain, parsed and checked against each other.

pub(crate) mod certificate;
mod error;
mod pem;

pub use certificate::{Certificate, KeyKind, Moment, Name, Validity};
pub use error::{BundleError, BundleErrorKind, Place};

use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::{CertifiedKey, SigningKey};

use untrusted_text::excerpt;

use certificate::Parsed;
use pem::Block;

/// A private key and its certificate chain, as uploaded. The [format](crate#a-bundle) is described at the
/// head of the crate.
///
/// Neither trust in the chain's root nor the validity period is checked.
#[derive(Clone, Debug)]
pub struct Bundle {
    key: KeyKind,
    chain: Vec<Certificate>,
    certified: Arc<CertifiedKey>,
}

impl Bundle {
    /// The longest text that is parsed, in bytes.
    pub const MAX_TEXT: usize = error::MAX_TEXT;

    /// The longest chain, in bytes of DER. It is sent in one handshake message, and common clients refuse
    /// messages above 64 KiB.
    pub const MAX_CHAIN: usize = error::MAX_CHAIN;

    /// Parses a bundle, and checks its key and its chain.
    ///
    /// # Errors
    ///
    /// The first reason why a server could not use the bundle, with the block where it is.
    pub fn parse(text: &[u8]) -> Result<Self, BundleError> {
        if text.len() > Self::MAX_TEXT {
            return Err(BundleErrorKind::TooLarge.anywhere());
        }
        let mut key: Option<(Place, PrivateKeyDer<'static>)> = None;
        let mut chain = Chain::default();
        for Block { place, kind, der } in pem::blocks(text)? {
            let found = match kind {
                SectionKind::PrivateKey => PrivatePkcs8KeyDer::from(der).into(),
                SectionKind::RsaPrivateKey => PrivatePkcs1KeyDer::from(der).into(),
                SectionKind::EcPrivateKey => PrivateSec1KeyDer::from(der).into(),
                _ => {
                    chain.push(place, der)?;
                    continue;
                }
            };
            if let Some((first, _)) = key {
                return Err(BundleErrorKind::TwoKeys { first }.at(place));
            }
            key = Some((place, found));
        }
        let (place, key) = key.ok_or_else(|| BundleErrorKind::NoKey.anywhere())?;
        let leaf = chain.parsed.first();
        let leaf = leaf.ok_or_else(|| BundleErrorKind::NoCertificate.anywhere())?;
        let (kind, leaf_place) = (leaf.1.key, leaf.0);
        let key = any_supported_type(&key)
            .map_err(|error| BundleErrorKind::Key(error.to_string()).at(place))?;
        match chain.key_belongs_to(&*key) {
            Some(0) => {}
            other => {
                let other = other.and_then(|index| chain.parsed.get(index));
                let kind = BundleErrorKind::KeyMismatch {
                    leaf: leaf_place,
                    other: other.map(|(place, _)| *place),
                };
                return Err(kind.at(place));
            }
        }
        chain.is_in_order()?;
        Ok(Self {
            key: kind,
            chain: (chain.parsed.into_iter())
                .map(|(_, parsed)| parsed.certificate)
                .collect(),
            certified: Arc::new(CertifiedKey::new(chain.der, key)),
        })
    }

    /// The kind of the private key: `key` in the control API.
    #[must_use]
    pub fn key(&self) -> KeyKind {
        self.key
    }

    /// The certificates in the order of the bundle, at least one.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The chain that rustls presents, and the key that it signs with.
    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

#[derive(Default)]
struct Chain {
    der: Vec<CertificateDer<'static>>,
    parsed: Vec<(Place, Parsed)>,
    bytes: usize,
}

impl Chain {
    fn push(&mut self, place: Place, der: Vec<u8>) -> Result<(), BundleError> {
        // Each one has its length in three bytes before it (RFC 8446, section 4.4.2), and its
        // extensions in two after it.
        self.bytes += der.len() + 5;
        if self.bytes > Bundle::MAX_CHAIN {
            return Err(BundleErrorKind::ChainTooLarge.at(place));
        }
        let parsed = certificate::parse(&der)
            .map_err(|reason| BundleErrorKind::Certificate(reason).at(place))?;
        self.parsed.push((place, parsed));
        self.der.push(der.into());
        Ok(())
    }

    /// The index of the certificate with this key. rustls can compare them, too, but only in certificates
    /// of version 3: `openssl x509 -req` makes older ones, and Unit accepts those.
    fn key_belongs_to(&self, key: &dyn SigningKey) -> Option<usize> {
        let key = key.public_key()?;
        let key = certificate::public_key(key.as_ref())?;
        let mut parsed = self.parsed.iter();
        parsed.position(|(_, parsed)| parsed.public_key == key)
    }

    /// Whether each certificate was issued by the subject of the next one. Unit does not check this, and
    /// then serves a chain that few clients can follow.
    fn is_in_order(&self) -> Result<(), BundleError> {
        for pair in self.parsed.windows(2) {
            let [(_, subject), (place, issuer)] = pair else {
                continue;
            };
            if subject.issuer != issuer.subject {
                let kind = BundleErrorKind::Order {
                    subject: excerpt(&issuer.subject.to_string()),
                    issuer: excerpt(&subject.issuer.to_string()),
                };
                return Err(kind.at(*place));
            }
        }
        Ok(())
    }
}
