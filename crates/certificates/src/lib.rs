//! Certificates: read, told of, kept, and served over TLS.
//!
//! ```text
//! text of an upload ──Bundle::parse──▶ Bundle ──▶ key, chain: what GET /certificates tells
//!                       │BundleError    │
//!                       ▼               ▼
//! the disk ◀──put, remove── Store ──snapshot──▶ Certificates
//!    └──────open──────────────▲                     │
//!                                 ServerTls::new, update
//!                                       │TlsError   ▼
//! a listener's `tls` ──TlsOptions───────────▶ ServerTls ──config──▶ rustls::ServerConfig
//! ```
//!
//! This crate opens no socket, knows no HTTP and no JSON, and speaks no word of TLS itself: that is
//! rustls, with *ring* below it. It makes no certificates, renews none, and asks nobody about them.
//!
//! # A bundle
//!
//! PEM, in blocks of these labels, and no others:
//!
//! | label | how many | where |
//! | --- | --- | --- |
//! | `CERTIFICATE` | 1 to 100 | the server's own first, then its issuer's, then that one's issuer's, …; the root may be left out |
//! | `PRIVATE KEY` (PKCS #8), `RSA PRIVATE KEY` (PKCS #1) or `EC PRIVATE KEY` (SEC 1) | 1 | anywhere |
//!
//! Keys are RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519. Text between blocks is
//! ignored. These are refused, with the block and its line:
//!
//! - what cannot be read, or is larger than [`Bundle::MAX_TEXT`] or [`Bundle::MAX_CHAIN`];
//! - a key with a password, a second key, no key, a key that is not the first certificate's;
//! - a chain in another order;
//! - blocks of any other label, `EC PARAMETERS` among them.
//!
//! A certificate that is expired, not yet valid, or signed by nobody in particular is a certificate.
//!
//! # Names
//!
//! Of several bundles on a listener, the one is presented whose names have the one that the client
//! asks for (SNI): its alternative names, or, if there are none of any kind, its common name. They
//! are compared without case.
//!
//! 1. The whole name, in whichever bundle it is.
//! 2. `*.` and the name without its first label.
//! 3. The first bundle. It is also for clients that ask for no name, or for an address.
//!
//! Of two bundles with the same name, it is the first. A single bundle is for every name.
//!
//! # Beside Unit
//!
//! As odd as in Unit:
//!
//! - [`KeyKind`] is shown as `ECDH` for all elliptic curves, and as `unknown` for Ed25519.
//! - A timeout of sessions is one of tickets only if there is a cache, see
//!   [`SessionOptions::timeout`].
//! - The first name of a kind is told, and the others are not, see [`Name`].
//!
//! Stricter than Unit, which finds out when a listener is to use the bundle, or when clients
//! complain: the key has to match, and the chain has to be in order; a name does not begin with a
//! dot. Otherwise than in Unit:
//!
//! - TLS 1.2 and 1.3 only, with HTTP/2 by ALPN. A client that offers protocols none of which is
//!   HTTP is turned away.
//! - Bundles can be replaced, by [`Store::replace`] and [`ServerTls::update`].
//! - Names in certificates are UTF-8, whatever their encoding; Unit has the bytes as they are.
//! - A name that is none (as `.example.com`) ends a handshake; Unit presents the first bundle.
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
//! let bundle = certificates.get("bundle").ok_or("it is there")?;
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
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz_bundle;
pub use name::{NameError, check_name};
pub use store::{DamageKind, Damaged, PutError, RemoveError, Store, StoreError};
pub use tls::{
    NameWarning, ServerTls, SessionOptions, TicketKey, TicketKeyError, Tickets, TlsError,
    TlsOptions,
};
