//! Certificate bundles: parsed, described, stored on disk, and served over TLS by SNI.
//!
//! ```text
//! text of an upload ──Bundle::parse──▶ Bundle ──▶ key, chain: for GET /certificates
//!                       │BundleError    │
//!                       ▼               ▼
//! the disk ◀──put, remove── Store ──snapshot──▶ Certificates
//!    └──────open──────────────▲                     │
//!                                 ServerTls::new, update
//!                                       │TlsError   ▼
//! a listener's `tls` ──TlsOptions───────────▶ ServerTls ──config──▶ rustls::ServerConfig
//! ```
//!
//! This crate opens no socket and knows neither HTTP nor JSON. The TLS protocol is rustls with *ring*.
//! Certificates are not issued, renewed (ACME) or checked for revocation (OCSP, CRL) here.
//!
//! # A bundle
//!
//! PEM text with these blocks, and no others:
//!
//! | label | how many | where |
//! | --- | --- | --- |
//! | `CERTIFICATE` | 1 to 100 | from the server's own to the root's, which may be left out |
//! | `PRIVATE KEY` (PKCS #8), `RSA PRIVATE KEY` (PKCS #1), `EC PRIVATE KEY` (SEC 1) | 1 | anywhere |
//!
//! Keys are RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519. Text between blocks is
//! ignored. Refused, with the number of the block and its line:
//!
//! - text that cannot be parsed, or is larger than [`Bundle::MAX_TEXT`] or [`Bundle::MAX_CHAIN`];
//! - an encrypted key, a second key, no key, a key that does not belong to the first certificate;
//! - a chain in another order;
//! - blocks of any other label, `EC PARAMETERS` among them.
//!
//! Expired, not yet valid and self-signed certificates are accepted: clients decide about these.
//!
//! # SNI
//!
//! If a listener has several bundles, SNI selects the one to present: the name that the client sends is
//! compared, without regard to case, with each bundle's subject alternative names, or with its common
//! name if it has no alternative names of any kind. In this order:
//!
//! 1. A bundle with exactly this name.
//! 2. A bundle with the wildcard `*.` for the first label of the name.
//! 3. The listener's first bundle. It also serves clients without SNI.
//!
//! If two bundles have the same name, the first of them is presented. A listener's only bundle is
//! presented for every name.
//!
//! # Beside Unit
//!
//! The same as in Unit, though unexpected:
//!
//! - [`KeyKind`] is shown as `ECDH` for all elliptic curves, and as `unknown` for Ed25519.
//! - The session timeout also limits tickets, but only if there is a session cache; see
//!   [`SessionOptions::timeout`].
//! - Of several names of one kind, only the first is described; see [`Name`].
//!
//! Stricter than Unit, which detects these only when a listener uses the bundle, or when clients fail:
//! the key has to match, the chain has to be in order, and a bundle's name must not begin with a dot.
//! Different from Unit:
//!
//! - TLS 1.2 and 1.3 only, with HTTP/2 by ALPN. The handshake fails if a client offers ALPN protocols,
//!   and none of them is HTTP.
//! - Bundles can be replaced, by [`Store::replace`] and [`ServerTls::update`].
//! - Names in certificates are converted to UTF-8; Unit passes on their bytes.
//! - A malformed SNI name (such as `.example.com`) fails the handshake; Unit presents the first bundle.
//!
//! ```
//! use certificates::{Bundle, ServerTls, Store, TlsOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().join("certs");
//! # let made = rcgen::generate_simple_self_signed(["example.com".to_owned()])?;
//! # let text = made.cert.pem() + &made.signing_key.serialize_pem();
//! let (store, damaged) = Store::open(folder)?;
//! assert!(damaged.is_empty());
//! store.put("bundle", text.as_bytes())?;
//!
//! let certificates = store.snapshot();
//! let bundle = certificates.get("bundle").ok_or("missing")?;
//! assert_eq!(bundle.key().to_string(), "ECDH");
//! let names = &bundle.chain()[0].subject.alt_names;
//! assert_eq!(names.as_deref(), Some(&["example.com".to_owned()][..]));
//!
//! let tls = ServerTls::new(TlsOptions::new(["bundle"]), &certificates)?;
//! let connection = rustls::ServerConnection::new(tls.config().clone())?;
//! assert!(connection.is_handshaking());
//!
//! let error = Bundle::parse(&text.as_bytes()[..100]).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "block 1 (line 1): the line that should end it is missing; the text may be cut off"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundle;
mod certificates;
mod current;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod name;
mod store;
mod tls;

pub use atomic_file::{WriteError, Written};
pub use bundle::{
    Bundle, BundleError, BundleErrorKind, Certificate, KeyKind, Moment, Name, Place, Validity,
};
pub use certificates::Certificates;
pub use current::CurrentCertificates;
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz_bundle;
pub use name::{NameError, check_name};
pub use store::{DamageKind, Damaged, PutError, RemoveError, Store, StoreError};
pub use tls::{
    NameWarning, ServerTls, SessionOptions, TicketKey, TicketKeyError, Tickets, TlsError,
    TlsOptions,
};
