//! The entry point for fuzzing. Exists in test and fuzzing builds only.

#[cfg(test)]
mod mutations;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    AddressPatterns, Condition, Endpoint, FieldKind, FieldRule, Forwarded, Match, Patterns,
    Property, PropertyRule, Request, Rewrite, Route, Scheme, Target, Template, Test, VariableSet,
    encode_location,
};

/// Parses `data` in all ways of this crate, and matches the results.
///
/// The first line is text of a configuration (a pattern, an address, a template), the second a request's
/// target, the third a cookie. Missing lines are empty.
///
/// # Panics
///
/// If a target is not normal, or two equivalent ways disagree, which is a bug.
pub fn fuzz_routing(data: &[u8]) {
    fuzz_targets(data);
    fuzz_addresses(data);
    fuzz_patterns(data);
    fuzz_templates(data);
}

/// The part of [`fuzz_routing`] that is about targets and locations.
///
/// # Panics
///
/// As it does.
pub fn fuzz_targets(data: &[u8]) {
    let [_, raw, _] = lines(data);
    look_at_location(raw);
    if let Ok(target) = Target::parse(raw) {
        look_at_target(&target);
    }
}

/// The part of [`fuzz_routing`] that is about address patterns, and the proxies that they let name clients.
///
/// # Panics
///
/// As it does.
pub fn fuzz_addresses(data: &[u8]) {
    let [said, raw, _] = lines(data);
    look_at_addresses(&String::from_utf8_lossy(said));
    look_at_forwarded(raw);
}

/// The part of [`fuzz_routing`] that is about patterns.
///
/// # Panics
///
/// As it does.
pub fn fuzz_patterns(data: &[u8]) {
    with_request(data, |said, request| {
        look_at_wildcards(said, request.target.path());
        look_at_rules(said, request);
    });
}

/// The part of [`fuzz_routing`] that is about templates, conditions and rewrites.
///
/// # Panics
///
/// As it does.
pub fn fuzz_templates(data: &[u8]) {
    with_request(data, look_at_templates);
}

fn lines(data: &[u8]) -> [&[u8]; 3] {
    let mut lines = data.split(|&byte| byte == b'\n');
    [(); 3].map(|()| lines.next().unwrap_or_default())
}

/// Asks with what a configuration says, and a request, if `data` has a target for one.
fn with_request(data: &[u8], ask: impl FnOnce(&str, &Request<'_>)) {
    let [said, raw, cookie] = lines(data);
    let Ok(target) = Target::parse(raw) else {
        return;
    };
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(cookie) {
        headers.append(http::header::COOKIE, value.clone());
        headers.append(HeaderName::from_static("a"), value);
    }
    let request = Request {
        scheme: Scheme::Http,
        method: "GET",
        host: "localhost",
        target: &target,
        headers: &headers,
        source: Endpoint::Unix,
        destination: Endpoint::Ip(([127, 0, 0, 1], 80).into()),
    };
    ask(&String::from_utf8_lossy(said), &request);
}

/// If only the peer is trusted, `recursive` makes no difference; an untrusted peer changes nothing.
fn look_at_forwarded(value: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(value) else {
        return;
    };
    let name = HeaderName::from_static("a");
    let mut headers = HeaderMap::new();
    headers.append(&name, value.clone());
    headers.append(&name, value);
    let mut source = AddressPatterns::new();
    // It is a pattern.
    _ = source.push("unix");
    let [once, recursive] = [false, true].map(|recursive| Forwarded {
        source: source.clone(),
        client_ip: Some(name.clone()),
        protocol: Some(name.clone()),
        recursive,
    });
    let applied = once.apply(Endpoint::Unix, Scheme::Http, &headers);
    let followed = recursive.apply(Endpoint::Unix, Scheme::Http, &headers);
    assert_eq!(applied, followed, "an untrusted address was skipped");
    let untrusted = Endpoint::Ip(([127, 0, 0, 1], 80).into());
    let applied = once.apply(untrusted, Scheme::Https, &headers);
    assert_eq!(
        applied,
        (untrusted, Scheme::Https),
        "an untrusted peer was believed"
    );
}

/// A target is normal, and what is sent on for it means the same.
fn look_at_target(target: &Target<'_>) {
    assert_normal(target.path());
    assert_eq!(target.path().first(), Some(&b'/'), "a path without a slash");

    let rewritten = target.with_path(target.path().to_vec().into());
    for sent in [target.to_send(), rewritten.to_send()] {
        let Ok(again) = Target::parse(&sent) else {
            unreachable!("{} is refused", sent.escape_ascii());
        };
        assert!(
            !again.is_respelled(),
            "{} is ambiguous",
            sent.escape_ascii()
        );
        assert_eq!(again.path(), target.path(), "a path is not what was sent");
        assert_eq!(
            again.query(),
            target.query(),
            "a query is not what was sent"
        );
    }
}

fn assert_normal(path: &[u8]) {
    let shown = path.escape_ascii();
    let mut segments = path.split(|&byte| byte == b'/');
    assert!(segments.all(|segment| segment != b".."), "{shown} goes up");
    assert!(!path.windows(2).any(|two| two == b"//"), "{shown}");
    assert!(!path.windows(3).any(|three| three == b"/./"), "{shown}");
    assert!(!path.contains(&b'\0'), "{shown}");
}

/// What was encoded is a URI, and stays one.
fn look_at_location(location: &[u8]) {
    let encoded = encode_location(location);
    assert!(
        encoded.iter().all(u8::is_ascii_graphic),
        "an unsafe byte is left"
    );
    assert_eq!(
        encode_location(&encoded),
        encoded,
        "a location is encoded twice"
    );
}

fn look_at_addresses(said: &str) {
    let endpoints = [
        Endpoint::Unix,
        Endpoint::Ip(([127, 0, 0, 1], 80).into()),
        Endpoint::Ip(([0, 0, 0, 0, 0, 0, 0, 1], 8080).into()),
        Endpoint::Ip(([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1], 8080).into()),
    ];
    let said = said.trim_start_matches('!');
    let (mut positive, mut negative) = (AddressPatterns::new(), AddressPatterns::new());
    let parsed = positive.push(said).is_ok();
    assert_eq!(parsed, negative.push(&format!("!{said}")).is_ok(), "{said}");
    for endpoint in endpoints {
        let (yes, no) = (positive.matches(endpoint), negative.matches(endpoint));
        assert_eq!(parsed, yes != no, "{said} {endpoint:?}");
    }
}

/// The matcher of wildcards agrees with one that tries everything.
fn look_at_wildcards(said: &str, path: &[u8]) {
    let plain = said.trim_start_matches(['!', '~']);
    let mut patterns = Patterns::media_types();
    if patterns.push(plain).is_ok() {
        let (pattern, value) = (plain.to_ascii_lowercase(), path.to_ascii_lowercase());
        assert_eq!(
            patterns.matches(path),
            glob(pattern.as_bytes(), &value),
            "{plain:?} {}",
            path.escape_ascii()
        );
    }
}

/// One row of the table whose cells say whether so much of the pattern matches so much of the value.
fn glob(pattern: &[u8], value: &[u8]) -> bool {
    let mut row = vec![false; value.len() + 1];
    row[0] = true;
    for &byte in pattern {
        let above = row.clone();
        for at in 0..row.len() {
            let here = match at.checked_sub(1) {
                None => false,
                Some(before) if byte == b'*' => row[before],
                Some(before) => above[before] && value[before] == byte,
            };
            row[at] = here || (byte == b'*' && above[at]);
        }
    }
    row[value.len()]
}

/// A pattern and its negation disagree about whatever is there.
fn look_at_rules(said: &str, request: &Request<'_>) {
    let negated = format!("!{said}");
    for property in [
        Property::Host,
        Property::Method,
        Property::Query,
        Property::Uri,
    ] {
        let outcome = |text: &str| {
            let mut rule = PropertyRule::new(property);
            let pushed = rule.push(text);
            if let Err(error) = &pushed {
                assert!(
                    error.to_string().len() < 2_000,
                    "a message repeats all of it"
                );
            }
            pushed.ok()?;
            let tests = Match::new([Test::Property(rule)]);
            let matches = tests.matches(request, request);
            let route = Route::new([(tests, ())]);
            let is_selected = route.select(request, request).is_some();
            assert_eq!(is_selected, matches, "{text:?} {property:?}");
            Some(matches)
        };
        // A second `!` is a character.
        if !said.starts_with('!') {
            let (yes, no) = (outcome(said), outcome(&negated));
            assert_eq!(yes, no.map(|no| !no), "{said:?} {property:?}");
        }
        let empty = Match::new([Test::Property(PropertyRule::new(property))]);
        assert!(empty.matches(request, request), "no pattern is no test");
    }
    for kind in [FieldKind::Argument, FieldKind::Cookie, FieldKind::Header] {
        let present = FieldRule::parse(kind, "a").is_ok_and(|rule| rule.matches(request));
        let Ok(mut rule) = FieldRule::parse(kind, "a") else {
            continue;
        };
        if rule.push(said).is_ok() && rule.matches(request) {
            assert!(present, "{said:?} matches what is not there");
        }
        if let Ok(rule) = FieldRule::parse(kind, said) {
            let route = Route::new([(Match::new([Test::Fields(vec![vec![rule]])]), ())]);
            let _ = route.select(request, request);
        }
    }
}

fn look_at_templates(said: &str, request: &Request<'_>) {
    if let Ok(template) = Template::parse(said, VariableSet::ALL) {
        let expanded = template.expand(request);
        let prefix = template.constant_prefix();
        assert!(expanded.starts_with(&prefix), "{said:?} begins otherwise");
        if !said.contains('$') {
            assert_eq!(*expanded, *said.as_bytes(), "a constant is something else");
        }
        let mut line = Vec::new();
        template.log(request, &mut line);
        assert!(line.len() >= expanded.len(), "a log leaves something out");
    }
    if let Ok(condition) = Condition::parse(said, VariableSet::REQUEST) {
        let turned = match said.strip_prefix('!') {
            Some(rest) => rest.to_owned(),
            None => format!("!{said}"),
        };
        // Of two `!`, the second is something that is not empty.
        if !turned.starts_with('!') || !said.starts_with('!') {
            let turned = Condition::parse(&turned, VariableSet::REQUEST);
            let turned = turned.map(|turned| turned.holds(request));
            assert_eq!(turned, Ok(!condition.holds(request)), "{said:?}");
        }
    }
    if let Ok(rewrite) = Rewrite::parse(said, VariableSet::REQUEST)
        && let Ok(target) = rewrite.apply(request.target, request)
    {
        assert_normal(target.path());
    }
}
