//! Why the TLS of a listener cannot be set up.

/// Options that no TLS can be made of.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// A listener without a certificate. Unit asks for at least one, too.
    #[error("there is no certificate")]
    None,
    /// A certificate that is not there.
    #[error("the certificate \"{0}\" is not there")]
    Unknown(String),
    /// Something that rustls refuses.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}
