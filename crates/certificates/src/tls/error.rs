//! Why the TLS of a listener cannot be set up.

/// Why the TLS of a listener cannot be set up.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// No certificate is named. Unit requires at least one, too.
    #[error("no certificate is configured")]
    None,
    /// A certificate that is not in the store.
    #[error("there is no certificate \"{0}\"")]
    Unknown(String),
    /// rustls refused the configuration, or there are no random numbers for ticket keys.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}
