//! NGINX Unit's routes: which requests a step matches, and the variables, targets and client addresses that
//! it matches them by.
//!
//! ```text
//! text of a pattern ──PropertyRule, FieldRule, AddressPatterns::push──▶ Test ──Match::new──▶ Match
//!                            │PatternError, AddressPatternError                               │
//! (Match, action) … ──Route::new──▶ Route                                                     │
//!                                     │ select ◀── Request ◀── Target::parse ◀── bytes        │
//!                                     ▼               ▲            │TargetError              │
//!                                  action             └── matches ────────────────────────────┘
//!
//! text with variables ──Template, Condition, Rewrite::parse──▶ expand, holds, apply over Variables
//!                            │TemplateError, RewriteError
//! ```
//!
//! This crate opens no socket, reads no JSON and takes no action: the caller decides what follows a match,
//! what `pass` leads to, and where the values of variables come from. Requests are bytes, which need not be
//! UTF-8, and are matched in linear time. All patterns are parsed with the configuration; none is parsed
//! for a request.
//!
//! # Targets
//!
//! [`Target::parse`] decodes and normalises as Unit's parser does, in the same order.
//! [`Target::to_send`] is the spelling that applications and proxied servers get, so that they cannot read
//! another path than the one that was matched:
//!
//! | target | path | query | sent on |
//! | --- | --- | --- | --- |
//! | `/a%2Fb;c?d#e` | `/a/b;c` | `d` | as it came |
//! | `//a///b` | `/a/b` | | `/a/b` |
//! | `/a/./b/../c`, `/a/%2e/b/%2E%2e/c`, `/a/b%2f..%2fc` | `/a/c` | | `/a/c` |
//! | `/a/b/..`, `/a/.` | `/a/` | | `/a/` |
//! | `/a\b` | `/a\b` | | `/a%5Cb` |
//! | `/%2561` | `/%61` | | as it came |
//! | `/a%3Fb%23c` | `/a?b#c` | | as it came |
//! | `/?%zz` | `/` | `%zz` | as it came |
//! | `/..`, `/%2e%2e/a`, `/a/../..` | refused | | |
//! | `/a/..;b`, `/.;` | refused; in Unit an ordinary segment | | |
//! | `/%`, `/%zz`, `/%00` | refused | | |
//! | `*`, `http://example.com/` | refused; a server that accepts them parses them before | | |
//!
//! # Patterns
//!
//! | pattern | matches |
//! | --- | --- |
//! | `text` | exactly this value |
//! | *nothing* | the empty value |
//! | `*.example.com`, `/a*b*`, `*` | values with any number of characters for each `*`; `**` is refused |
//! | `~^/a[0-9]+$` | values in which the regular expression matches somewhere |
//! | `!` and any of these | values that it does not match; a second `!` is a character |
//!
//! | property | compared | decoded in the pattern |
//! | --- | --- | --- |
//! | `host` | the pattern in lower case, with the host in lower case | – |
//! | `method` | the pattern in upper case, with the method as it is | – |
//! | `uri` | with case | `%XX` |
//! | `query` | with case | `%XX`, and `+` for a space |
//! | `arguments` | with case, the names, too | `%XX`, and `+` for a space, in names, too |
//! | `cookies` | with case, the names, too | – |
//! | `headers`, media types | without case, the names, too | – |
//! | `scheme` | `http` or `https`, without case; no pattern ([`Scheme::parse`]) | – |
//!
//! `*`, `!` and `~` are recognised before percent-decoding, so `%2A`, `%21` and `%7E` are these characters.
//! Several patterns match a value if `!`…, that is every negated one, and at least one of the others match
//! it; without others, the negated ones suffice, and an empty array matches everything. Arguments, cookies
//! and header fields may occur several times: at least one of the name has to exist, even for `!a`, and all
//! of them have to match. An object of them matches if all its members do, an array of objects if one of
//! its objects does.
//!
//! Regular expressions are those of the crate `regex`, over bytes and in ASCII. Refused are the features of
//! PCRE that cannot be matched in linear time (look-around, back-references, recursion, possessive
//! quantifiers), expressions that PCRE interprets differently, such as `[[ab]` and `\<`, and those that
//! compile to more than [`MAX_REGEX_SIZE`]. As in Unit, expressions are not percent-decoded, and are
//! case-sensitive for every property unless they contain `(?i)`. One difference remains: `$` matches at the
//! end of the value only, PCRE's also before a final line feed.
//!
//! # Addresses
//!
//! | pattern | matches |
//! | --- | --- |
//! | `192.0.2.1`, `2001:db8::1` | this address |
//! | `192.0.2.0/24`, `2001:db8::/32` | all addresses with this prefix; other bits of the pattern are ignored |
//! | `192.0.2.1-192.0.2.9`, `::1-::9` | the range, both ends included |
//! | any IPv4 pattern and `:80` or `:8080-8090` | the same, with these ports |
//! | `[2001:db8::/32]:80` | the same with an IPv6 pattern; brackets without a port are refused |
//! | `*:80` | any address with these ports, but no Unix socket |
//! | `unix` | any Unix socket |
//! | `!` and any of these | addresses that it does not match |
//!
//! Several of them decide as several patterns do, but an empty array matches nothing. IPv4 addresses are
//! four decimal numbers without leading zeros; Unit accepts more, even `/8` for `255.0.0.0/8`. An IPv6
//! address may end in an IPv4 address, which Unit refuses.
//!
//! # Clients behind proxies
//!
//! [`Forwarded`] trusts these fields of a request if the peer's address matches `source`, and ignores them
//! otherwise:
//!
//! - `client_ip` is a list of addresses, with or without ports, separated by spaces and commas. It is read
//!   from right to left, and several fields from the last to the first. The client's address is the first
//!   one that is read; with `recursive`, the first one that does not match `source`, or else the last one.
//! - `protocol` is `http`, `https` or `on`, without regard to case, and sets the scheme. Of several fields,
//!   the first one that is not empty counts. Other values are ignored.
//!
//! Reading stops at the first item that is not accepted as an address; then the one read before it counts,
//! or the proxy's own. Not accepted are host names, `unix:…`, `[…]` without a port, the unspecified address
//! (all zeros) and 255.255.255.255. An address without a port gets port 0. Addresses are parsed as strictly
//! as in patterns.
//!
//! ```
//! use http::{HeaderMap, HeaderName, HeaderValue};
//! use routing::{AddressPatterns, Endpoint, Forwarded, Scheme};
//!
//! let mut source = AddressPatterns::new();
//! source.push("192.0.2.0/24")?;
//! source.push("198.51.100.0/24")?;
//! let name = HeaderName::from_static("x-forwarded-for");
//! let forwarded = Forwarded { source, client_ip: Some(name.clone()), protocol: None, recursive: true };
//! let mut headers = HeaderMap::new();
//! headers.append(&name, HeaderValue::from_static("192.0.2.18"));
//! headers.append(&name, HeaderValue::from_static("203.0.113.195, 198.51.100.178"));
//!
//! let proxy = Endpoint::Ip("192.0.2.1:40000".parse()?);
//! let (client, _) = forwarded.apply(proxy, Scheme::Http, &headers);
//! assert_eq!(client, Endpoint::Ip("203.0.113.195:0".parse()?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Variables
//!
//! `$name` or `${name}`, where a name is the longest sequence of letters and underscores: `$arg_a1` is
//! `$arg_a` and a `1`. Names are those of the variants of [`Variable`], in snake case, and case-sensitive;
//! `$dollar` is a `$`. A `$` without a name is refused, and so is a text that begins with a backquote (a
//! JavaScript template). Variables without a value expand to nothing.
//!
//! ```
//! use http::HeaderMap;
//! use routing::{
//!     Endpoint, Match, Property, PropertyRule, Request, Rewrite, Route, Scheme, Target, Template,
//!     Test, VariableSet,
//! };
//!
//! let mut uri = PropertyRule::new(Property::Uri);
//! uri.push("/api/*")?;
//! uri.push("!*.php")?;
//! let route = Route::new([
//!     (Match::new([Test::Property(uri)]), "applications/api"),
//!     (Match::default(), "applications/site"),
//! ]);
//!
//! let target = Target::parse(b"//site/../api/%76ersion?full")?;
//! let headers = HeaderMap::new();
//! let request = Request {
//!     scheme: Scheme::Https,
//!     method: "GET",
//!     host: "example.com",
//!     target: &target,
//!     headers: &headers,
//!     source: Endpoint::Ip("192.0.2.1:40000".parse()?),
//!     destination: Endpoint::Ip("192.0.2.2:443".parse()?),
//! };
//! assert_eq!(route.select(&request, &request), Some((0, &"applications/api")));
//!
//! let redirect = Template::parse("https://$host$request_uri", VariableSet::REQUEST)?;
//! let location = redirect.expand(&request);
//! assert_eq!(&*location, b"https://example.com//site/../api/%76ersion?full");
//!
//! let rewrite = Rewrite::parse("/v1$uri", VariableSet::REQUEST)?;
//! let rewritten = rewrite.apply(&target, &request)?;
//! assert_eq!(&*rewritten.to_send(), b"/v1/api/version?full");
//!
//! let error = PropertyRule::new(Property::Uri).push("~(").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "\"~(\" is not a valid pattern: the regular expression is not valid: unclosed group at offset 0"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod arguments;
mod condition;
mod destination;
mod forwarded;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod location;
mod matcher;
mod pattern;
mod prefilter;
mod request;
mod rewrite;
mod route;
mod rule;
mod target;
mod template;
mod variable;

pub use address::{AddressPatternError, AddressPatternErrorKind, AddressPatterns, Endpoint};
pub use condition::Condition;
pub use destination::Destination;
pub use forwarded::Forwarded;
#[cfg(any(test, fuzzing))]
pub use fuzz::{fuzz_addresses, fuzz_patterns, fuzz_routing, fuzz_targets, fuzz_templates};
pub use location::encode_location;
pub use matcher::{Match, Test};
pub use pattern::{MAX_REGEX_SIZE, PatternError, PatternErrorKind, Patterns};
pub use request::{Request, Scheme};
pub use rewrite::{Rewrite, RewriteError};
pub use route::{MAX_ACTIONS, Route};
pub use rule::{FieldKind, FieldNameError, FieldRule, Property, PropertyRule};
pub use target::{Target, TargetError};
pub use template::{Expanded, Template, TemplateError, TemplateErrorKind};
pub use variable::{Variable, VariableKind, VariableSet, Variables, response_header};
