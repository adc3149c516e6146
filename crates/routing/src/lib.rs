//! What NGINX Unit's routes mean: which requests match, and what is said of them.
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
//! This crate opens no socket, reads no JSON and takes no action: what follows a match, what `pass`
//! names, and where the values of variables come from is for others to say. All that comes from
//! outside is bytes, need not be UTF-8, and is matched in linear time. What is parsed is what is
//! enforced; nothing is looked at again when a request comes.
//!
//! # Targets
//!
//! [`Target::parse`] does what Unit's parser does, in the same order. [`Target::to_send`] is the one
//! spelling that others get, so that nobody reads another path than what has matched:
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
//! | `*`, `http://example.com/` | refused; a server that takes these takes them apart before | | |
//!
//! # Patterns
//!
//! | pattern | matches |
//! | --- | --- |
//! | `text` | this value, all of it |
//! | *nothing* | the empty value |
//! | `*.example.com`, `/a*b*`, `*` | values with any number of characters for each `*`; `**` is refused |
//! | `~^/a[0-9]+$` | values in which the regular expression is found |
//! | `!` and any of these | what it does not match; a second `!` is a character |
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
//! Wildcards and the marks in front are looked for before decoding, so `%2A`, `%21` and `%7E` are the
//! characters themselves. Of several patterns, no negated one may match, and one of the others has to,
//! if there are others; no patterns at all match everything. Arguments, cookies and header fields may
//! come several times: all of a name have to match, and one has to be there, even for `!a`. An object
//! of them matches in all of its members, an array of objects in one of its objects.
//!
//! Regular expressions are those of the crate `regex`, over bytes and in ASCII. What PCRE has beyond
//! that (look-around, back-references, recursion, possessive quantifiers) is refused, since it cannot
//! be matched in linear time; so is what both read in different ways, such as `[[ab]` and `\<`, and what
//! compiles to more than [`MAX_REGEX_SIZE`]. Expressions are not decoded and heed case for every
//! property, unless `(?i)` says otherwise; so it is in Unit. One difference stays: `$` is the end of
//! the value only, where PCRE's also matches in front of a last line feed.
//!
//! # Addresses
//!
//! | pattern | matches |
//! | --- | --- |
//! | `192.0.2.1`, `2001:db8::1` | this address |
//! | `192.0.2.0/24`, `2001:db8::/32` | all addresses with this prefix, whatever stands behind it |
//! | `192.0.2.1-192.0.2.9`, `::1-::9` | these and all between them |
//! | any IPv4 pattern and `:80` or `:8080-8090` | the same, at these ports |
//! | `[2001:db8::/32]:80` | the same with an IPv6 pattern; brackets without a port are refused |
//! | `*:80` | any address at these ports, but no Unix socket |
//! | `unix` | any Unix socket |
//! | `!` and any of these | what it does not match |
//!
//! Several decide as several patterns do, but for an empty array, which nothing matches. IPv4
//! addresses are written in four decimal numbers without leading zeros, where Unit takes more, down to
//! `/8` for `255.0.0.0/8`. An IPv6 address may end in an IPv4 address, which Unit does not take.
//!
//! # Clients behind proxies
//!
//! [`Forwarded`] takes the word of a proxy whose own address matches its `source`, and of nobody else:
//!
//! | field | value | says |
//! | --- | --- | --- |
//! | `client_ip` | addresses, each with a port perhaps, between spaces and commas; of several fields the last is read first, and each from the right | the client's address: the first that is read; if it is recursive, the first that does not match `source`, or else the last |
//! | `protocol` | `http`, `https` or `on`, in either case; of several fields the first counts | the scheme |
//!
//! Empty fields are passed over. Where there is no address, the reading ends with the one before, which
//! is the proxy's own at first; that is so for `unix:` and whatever else is none, for brackets without
//! a port, for all zeros and for 255.255.255.255. Another scheme is none. An address without a port has
//! port 0. Addresses are as strict as in patterns.
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
//! `$name` or `${name}`, where a name is as many letters and underscores as there are: `$arg_a1` is
//! `$arg_a` and a `1`. Names are those of the variants of [`Variable`], in snake case and with case;
//! `$dollar` is a `$`. A `$` that is not followed by a name is refused, and so is a text that begins
//! with a backquote. Variables without a value are empty.
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
//!     "\"~(\" is no pattern: the regular expression is not valid: unclosed group at offset 0"
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
mod guard;
mod location;
mod matcher;
mod pattern;
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
