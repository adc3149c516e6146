//! Why a text is refused as a bundle, and the limits that the reasons name.

use std::fmt;

/// The longest text of a bundle, in bytes.
pub(super) const MAX_TEXT: usize = 256 * 1024;

/// The longest chain, in bytes of DER. It is sent in one handshake message, and common clients refuse
/// messages above 64 KiB.
pub(super) const MAX_CHAIN: usize = 60 * 1024;

/// The most certificates in a bundle; clients follow far shorter chains.
pub(super) const MAX_CERTIFICATES: usize = 100;

/// Where a block of a bundle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which block it is, from 1.
    pub block: usize,
    /// The line that begins it, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} (line {})", self.block, self.line)
    }
}

/// Why a text is refused as a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleError {
    /// The block that is wrong; `None` if the reason is about the whole text.
    pub place: Option<Place>,
    /// The reason.
    pub kind: BundleErrorKind,
}

/// The reason why a bundle is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleErrorKind {
    /// More than [`Bundle::MAX_TEXT`](crate::Bundle::MAX_TEXT).
    #[error("the bundle has more than {} bytes", MAX_TEXT)]
    TooLarge,
    /// More than a hundred certificates.
    #[error("the bundle has more than {MAX_CERTIFICATES} certificates")]
    TooManyBlocks,
    /// More than [`Bundle::MAX_CHAIN`](crate::Bundle::MAX_CHAIN).
    #[error(
        "the chain has more than {} bytes, which common clients refuse",
        MAX_CHAIN
    )]
    ChainTooLarge,
    /// A block whose first line is cut off.
    #[error("its first line does not end in \"-----\"")]
    FirstLine,
    /// A block whose last line is missing.
    #[error("the line that should end it is missing; the text may be cut off")]
    NoEnd,
    /// A block whose content is not Base64.
    #[error("its content is not valid Base64; the text may be damaged")]
    Base64,
    /// A block that is neither a certificate nor a key.
    #[error(
        "\"{0}\" blocks are not supported; a bundle has blocks of \"CERTIFICATE\", and one of \"PRIVATE KEY\", \
         \"RSA PRIVATE KEY\" or \"EC PRIVATE KEY\""
    )]
    Label(String),
    /// A key with a password.
    #[error("the private key is encrypted; remove its password, which the server cannot ask for")]
    EncryptedKey,
    /// No key at all.
    #[error("there is no private key")]
    NoKey,
    /// A second key.
    #[error("this is a second private key; the first one is in {first}")]
    TwoKeys {
        /// The key before it.
        first: Place,
    },
    /// No certificate at all.
    #[error("there is no certificate")]
    NoCertificate,
    /// A certificate that is not valid X.509.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// A key that cannot be parsed, or of a kind that is not supported.
    #[error(
        "the private key cannot be used ({0}); it has to be RSA of 2048 to 4096 bits, ECDSA on P-256 or \
         P-384, or Ed25519"
    )]
    Key(String),
    /// A key that does not belong to the first certificate.
    #[error("the private key does not belong to the first certificate, in {leaf}{}", elsewhere(*other))]
    KeyMismatch {
        /// The first certificate.
        leaf: Place,
        /// The certificate that the key belongs to, if it is in the bundle.
        other: Option<Place>,
    },
    /// A certificate that did not issue the one before it.
    #[error(
        "the certificate of \"{subject}\" is out of order: the one before it was issued by \"{issuer}\"; \
         the order is from the server's own certificate to the root's"
    )]
    Order {
        /// The subject of this certificate.
        subject: String,
        /// The issuer of the one before, which should be the subject.
        issuer: String,
    },
}

impl BundleErrorKind {
    pub(super) fn at(self, place: Place) -> BundleError {
        BundleError {
            place: Some(place),
            kind: self,
        }
    }

    pub(super) fn anywhere(self) -> BundleError {
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
