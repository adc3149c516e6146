use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::{CertifiedKey, SigningKey};

use crate::facts::{self, Certificate, KeyKind, Parsed};
use crate::pem::{self, Block, Place};
use untrusted_text::excerpt;

/// A private key and the chain of certificates that vouch for it, as they are uploaded.
///
/// The text is PEM: one private key without a password and at least one certificate. Of the
/// certificates, the first is the one that the key belongs to, and each other one is that of the
/// issuer of the one before it. The key may stand anywhere. What stands between the blocks is
/// ignored.
///
/// Whether the chain ends at an authority that anybody trusts, and whether it is valid today, is
/// not asked: clients decide about the one, and time about the other.
#[derive(Clone, Debug)]
pub struct Bundle {
    key: KeyKind,
    chain: Vec<Certificate>,
    certified: Arc<CertifiedKey>,
}

impl Bundle {
    /// The longest text that is read, in bytes.
    pub const MAX_TEXT: usize = 256 * 1024;

    /// What all certificates of a chain take at most, in bytes without PEM. The chain is sent in one
    /// message, and common clients read none above 64 KiB.
    pub const MAX_CHAIN: usize = 60 * 1024;

    /// Reads a bundle.
    ///
    /// # Errors
    ///
    /// When the text is no bundle that a server can use, with what is wrong and where.
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
                .map(|(_, parsed)| parsed.facts)
                .collect(),
            certified: Arc::new(CertifiedKey::new(chain.der, key)),
        })
    }

    /// What the private key is, as `key` of Unit's answer has it.
    #[must_use]
    pub fn key(&self) -> KeyKind {
        self.key
    }

    /// The certificates in the order of the bundle, at least one.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// What rustls presents and signs with.
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
        let parsed =
            facts::parse(&der).map_err(|reason| BundleErrorKind::Certificate(reason).at(place))?;
        self.parsed.push((place, parsed));
        self.der.push(der.into());
        Ok(())
    }

    /// Which certificate has this key. rustls has a comparison of its own, which takes no
    /// certificate below version 3; `openssl x509 -req` makes them, and Unit takes them.
    fn key_belongs_to(&self, key: &dyn SigningKey) -> Option<usize> {
        let key = key.public_key()?;
        let key = facts::public_key(key.as_ref())?;
        let mut parsed = self.parsed.iter();
        parsed.position(|(_, parsed)| parsed.public_key == key)
    }

    /// Whether each certificate is that of the issuer of the one before. Unit does not ask, and
    /// serves a chain that few clients can follow.
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

/// A text that is no bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleError {
    /// The block that is wrong, if it is one of them.
    pub place: Option<Place>,
    /// What is wrong.
    pub kind: BundleErrorKind,
}

/// What is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleErrorKind {
    /// More than [`Bundle::MAX_TEXT`].
    #[error("a bundle has at most {} bytes", Bundle::MAX_TEXT)]
    TooLarge,
    /// More than a hundred certificates.
    #[error("a bundle has at most 100 certificates")]
    TooManyBlocks,
    /// More than [`Bundle::MAX_CHAIN`].
    #[error(
        "the chain has more than {} bytes, and clients would not read it",
        Bundle::MAX_CHAIN
    )]
    ChainTooLarge,
    /// A block whose first line is cut off.
    #[error("its first line does not end in \"-----\"")]
    FirstLine,
    /// A block whose last line is missing.
    #[error("the line that should end it is missing; the text may be cut off")]
    NoEnd,
    /// A block whose content is not Base64.
    #[error("its content is not Base64; the text may be damaged")]
    Base64,
    /// A block that is neither a certificate nor a key.
    #[error(
        "\"{0}\" is not known; a bundle has blocks of \"CERTIFICATE\", and one of \"PRIVATE KEY\", \
         \"RSA PRIVATE KEY\" or \"EC PRIVATE KEY\""
    )]
    Label(String),
    /// A key with a password.
    #[error("the private key is encrypted, and nobody is there to be asked for the password")]
    EncryptedKey,
    /// No key at all.
    #[error("there is no private key")]
    NoKey,
    /// A second key.
    #[error("there is a private key already, in {first}")]
    TwoKeys {
        /// The first one.
        first: Place,
    },
    /// No certificate at all.
    #[error("there is no certificate")]
    NoCertificate,
    /// A certificate that is none.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// A key that is none, or of a kind that cannot be used.
    #[error(
        "the private key cannot be used ({0}); it has to be RSA of 2048 to 4096 bits, ECDSA on P-256 or \
         P-384, or Ed25519"
    )]
    Key(String),
    /// The key of another certificate.
    #[error("the private key is not that of the first certificate, in {leaf}{}", elsewhere(*other))]
    KeyMismatch {
        /// The first certificate.
        leaf: Place,
        /// The certificate that the key belongs to, if it is in the bundle.
        other: Option<Place>,
    },
    /// A certificate that is not that of the issuer of the one before.
    #[error(
        "the certificate is that of \"{subject}\", but the one before it was issued by \"{issuer}\"; \
         the order is from the server's own certificate to the root's"
    )]
    Order {
        /// Whose certificate is there.
        subject: String,
        /// Whose should be.
        issuer: String,
    },
}

impl BundleErrorKind {
    pub(crate) fn at(self, place: Place) -> BundleError {
        BundleError {
            place: Some(place),
            kind: self,
        }
    }

    fn anywhere(self) -> BundleError {
        BundleError {
            place: None,
            kind: self,
        }
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => write!(f, "{place}: {}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl std::error::Error for BundleError {}

fn elsewhere(place: Option<Place>) -> String {
    place.map_or_else(String::new, |place| {
        format!("; it belongs to the certificate in {place}, which has to come first")
    })
}
