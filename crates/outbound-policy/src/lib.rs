//! Where a guest may send requests to: the defence against SSRF (server-side request forgery). Resolving, connecting
//! and redirects are the business of `outbound`.
//!
//! ```text
//! text of a grant ──Grant::parse──▶ Grant ──Policy::new──▶ Policy
//!                     │GrantError                            │ allows
//! http::Uri ──Destination::of──▶ Destination ────────────────┤
//!                │DestinationError                           │ allows_address
//! the address that the host's name resolved to ──────────────┘
//! ```
//!
//! This crate opens no socket and resolves no name. A guest that follows a redirect sends another request, which is
//! checked like any other.
//!
//! # The grammar of a grant
//!
//! | grant | allows |
//! | --- | --- |
//! | `*` | both schemes, any host, any port |
//! | `https://api.example.com` | this host with this scheme, at the scheme's port (80 or 443) |
//! | `http://api.example.com:8080` | the same at this port |
//! | `http://api.example.com:*` | the same at any port |
//! | `http://*.internal:8080` | each name below `internal`, at any depth, but not `internal` itself |
//! | `https://*` | any host with this scheme, at the scheme's port |
//! | `https://10.0.0.1:8443` | this address; names that resolve to it need their own grant |
//! | `http://[fd00::1]:8080` | this address |
//!
//! Nothing else is a grant: a scheme has to be named, and there is no path (not even `/`), query,
//! fragment or user info. A wildcard is the whole host or the whole first label. Upper case, one
//! trailing dot of a name, and names outside of ASCII (by IDNA, UTS 46) are accepted and normalised;
//! [`Grant`]'s `Display` shows the outcome.
//!
//! # Matching
//!
//! Scheme, host and port of a request are compared after parsing, by [`Destination::of`]. The path
//! plays no part. It is enough that one grant matches.
//!
//! - Names are compared in lower case and without a trailing dot, label by label.
//! - Addresses are compared as addresses. An IPv6 address with an embedded IPv4 address is treated as that IPv4
//!   address: mapped (`::ffff:a.b.c.d`), translated (`::ffff:0:a.b.c.d`), compatible (`::a.b.c.d`),
//!   NAT64 (`64:ff9b::/96`) and 6to4 (`2002::/16`).
//! - Private networks (`10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`, `100.64.0.0/10`,
//!   `fc00::/7`) are ordinary addresses, and `*` includes them.
//!
//! # Special addresses
//!
//! No wildcard allows these, and no name may resolve to them:
//!
//! | addresses | why |
//! | --- | --- |
//! | `127.0.0.0/8`, `::1` | this machine, where the control API may listen |
//! | `0.0.0.0/8`, `::` | connecting to these reaches this machine, too |
//! | `169.254.0.0/16`, `fe80::/10` | link-local; `169.254.169.254` is the metadata service of most clouds |
//! | `fd00:ec2::/32`, `fd20:ce::254` | metadata services (AWS, Google) |
//! | `100.100.100.200`, `168.63.129.16`, `192.0.0.0/24` | metadata services (Alibaba, Azure, Oracle) |
//! | `224.0.0.0/4`, `240.0.0.0/4`, `ff00::/8` | multicast, reserved, broadcast |
//! | `64:ff9b:1::/48`, `2001::/32` | have embedded IPv4 addresses that cannot be extracted |
//!
//! A special address must be granted as a literal (`http://127.0.0.1:9000`), and the request must name it as a literal.
//! The one exception is for the names that RFC 6761 reserves for loopback: an exact grant of `localhost`, or of a name
//! that ends in `.localhost`, allows this name to resolve to loopback. A grant of `http://upstream.local:9000` does not
//! allow `127.0.0.1` if the name resolves to it.
//!
//! The machine's other addresses cannot be distinguished from other machines' here, so `*` allows what listens on them.
//! The control API should listen on a Unix socket or on loopback.
//!
//! # What is refused
//!
//! Without grants, everything. With any grants, a request whose URI
//!
//! - has a scheme other than `http` and `https`, or none, or no host;
//! - has user info (`http://good.example@evil.example`);
//! - has an empty port (`http://a:`), port 0, one above 65535, or one with leading zeros;
//! - spells an IPv4 address in any way but four decimal numbers (`2130706433`, `0177.0.0.1`,
//!   `0x7f.1`, `127.1`, `127.0.0.1.`), since resolvers of operating systems accept these;
//! - has an IPv6 address with a zone, or a host with percent-encoding;
//! - has a name with an empty label (`a..b`, `a.b..`), a label above 63 or a name above 253 bytes,
//!   a label that starts or ends with a hyphen, a label in Punycode that is not valid, or bytes other
//!   than letters, digits, `-` and `_`.
//!
//! ```
//! use outbound_policy::{Destination, Grant, Policy};
//!
//! let policy = Policy::new([Grant::parse("https://*.Example.com")?, Grant::parse("*")?]);
//! let metadata = Destination::of(&"http://metadata.example.com/".parse()?)?;
//! assert!(policy.allows(&metadata));
//! assert!(policy.allows_address(&metadata, "192.0.2.7".parse()?));
//! assert!(!policy.allows_address(&metadata, "169.254.169.254".parse()?));
//!
//! // 127.0.0.1 for some resolvers.
//! assert!(Destination::of(&"http://0x7f.1/".parse()?).is_err());
//!
//! let error = Grant::parse("api.example.com").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "invalid grant \"api.example.com\": it must be \"*\" or start with \"http://\" or \
//!      \"https://\", as \"https://api.example.com\" does"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod authority;
mod destination;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod grant;
mod host;
mod policy;

pub use destination::{Destination, DestinationError, Scheme};
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz_policy;
pub use grant::{Grant, GrantError, GrantErrorKind};
pub use host::{Host, HostError};
pub use policy::Policy;
