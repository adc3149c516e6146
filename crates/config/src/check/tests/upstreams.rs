//! `upstreams` and `proxy`.

use std::path::PathBuf;

use super::*;
use crate::ActionKind;

/// The example of Unit's documentation.
const BALANCED: &str = r#"{
    "listeners": {"*:80": {"pass": "upstreams/rr-lb"}},
    "upstreams": {
        "rr-lb": {
            "servers": {
                "192.168.0.100:8080": {},
                "192.168.0.101:8080": {"weight": 0.5}
            }
        }
    }
}"#;

/// An upstream `u` with these servers.
fn servers(members: &str) -> Result<Checked, ConfigError> {
    check(&format!(
        r#"{{"upstreams":{{"u":{{"servers":{{{members}}}}}}}}}"#
    ))
}

#[track_caller]
fn weight(text: &str) -> f64 {
    let checked = servers(&format!(r#""127.0.0.1:80":{{{text}}}"#)).unwrap();
    checked.config.upstreams[0].servers[0].weight.number()
}

fn proxy(address: &str) -> Result<Checked, ConfigError> {
    check(&format!(
        r#"{{"routes":[{{"action":{{"proxy":"{address}"}}}}]}}"#
    ))
}

/// Addresses, and what they are.
fn addresses() -> [(&'static str, ServerAddress); 6] {
    let tcp = |text: &str| ServerAddress::Tcp(text.parse().unwrap());
    [
        ("127.0.0.1:8080", tcp("127.0.0.1:8080")),
        ("*:80", tcp("0.0.0.0:80")),
        ("[::1]:65535", tcp("[::1]:65535")),
        (
            "unix:/run/a b.sock",
            ServerAddress::Unix(PathBuf::from("/run/a b.sock")),
        ),
        ("unix:ab", ServerAddress::Unix(PathBuf::from("ab"))),
        ("unix:@name", ServerAddress::Abstract("name".to_owned())),
    ]
}

const NO_ADDRESSES: [&str; 17] = [
    "",
    "127.0.0.1",
    "127.0.0.1:",
    "127.0.0.1:0",
    "127.0.0.1:65536",
    "127.0.0.1:+80",
    "127.0.0.1:80/",
    "[::1]",
    "::1:80",
    ":80",
    "localhost:80",
    "example.com:80",
    "user@127.0.0.1:80",
    "unix:",
    "unix:a",
    "unix:@",
    "unix:/a\\u0000b",
];

#[test]
fn the_example_of_the_documentation_is_accepted() {
    let config = check(BALANCED).unwrap().config;
    assert_eq!(config.listeners[0].pass, Pass::Upstream("rr-lb".to_owned()));
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.name, "rr-lb");
    let servers: Vec<_> = upstream.servers.iter().collect();
    assert_eq!(
        servers[1].address,
        ServerAddress::Tcp("192.168.0.101:8080".parse().unwrap())
    );
    let weights = servers.iter().map(|server| server.weight.number());
    assert_eq!(weights.collect::<Vec<_>>(), [1.0, 0.5]);
}

#[test]
fn weights_are_numbers_from_0_to_a_million() {
    assert_eq!(weight(""), 1.0);
    for (text, number) in [
        ("10", 10.0),
        ("1e1", 10.0),
        ("10.0", 10.0),
        ("0", 0.0),
        ("-0", 0.0),
        ("1e-9", 1e-9),
        ("1000000", 1_000_000.0),
    ] {
        assert_eq!(weight(&format!(r#""weight":{text}"#)), number, "{text}");
    }
    let of = |text: &str| servers(&format!(r#""127.0.0.1:80":{{"weight":{text}}}"#));
    let path = "/upstreams/u/servers/127.0.0.1:80/weight";
    for text in ["-1", "-0.001"] {
        refused(of(text), path, "The \"weight\" number must be positive.");
    }
    for text in ["1000001", "1000000.5", "1e9"] {
        refused(
            of(text),
            path,
            "The \"weight\" number must not exceed 1,000,000",
        );
    }
    refused(
        of("\"1\""),
        path,
        "The \"weight\" value must be either an integer number or a fractional number, but not a \
         string.",
    );
}

#[test]
fn servers_are_addresses() {
    for (text, address) in addresses() {
        let checked = servers(&format!(r#""{text}":{{}}"#)).unwrap();
        assert_eq!(checked.config.upstreams[0].servers[0].address, address);
    }
    for text in NO_ADDRESSES {
        let error = servers(&format!(r#""{text}":{{}}"#)).unwrap_err();
        let shown = text.replace("\\u0000", "\0");
        assert_eq!(
            error.detail,
            format!("The \"{shown}\" is not valid server address.")
        );
        assert_eq!(
            error.path,
            ["upstreams", "u", "servers", shown.as_str()]
                .into_iter()
                .collect()
        );
    }
    let long = |length: usize| servers(&format!(r#""unix:/{}":{{}}"#, "a".repeat(length)));
    assert!(long(106).is_ok());
    assert!(long(107).unwrap_err().detail.contains("not valid server"));
}

#[test]
fn invalid_upstreams_are_refused_with_their_path() {
    refused(
        check(r#"{"upstreams":{"u":[]}}"#),
        "/upstreams/u",
        "The \"u\" value must be an object, but not an array.",
    );
    refused(
        check(r#"{"upstreams":{"u":{}}}"#),
        "/upstreams/u/servers",
        "The \"u\" upstream must contain \"servers\" object value.",
    );
    refused(
        check(r#"{"upstreams":{"u":{"servers":["127.0.0.1:80"]}}}"#),
        "/upstreams/u/servers",
        "The \"servers\" value must be an object, but not an array.",
    );
    refused(
        servers(r#""127.0.0.1:80":1"#),
        "/upstreams/u/servers/127.0.0.1:80",
        "The \"127.0.0.1:80\" value must be an object, but not an integer number.",
    );
    let error = servers(r#""127.0.0.1:80":{"wieght":1}"#).unwrap_err();
    assert_eq!(error.path.to_string(), "/upstreams/u/servers/127.0.0.1:80");
    assert_eq!(error.suggestion, Some("weight"));
    // Accepted, as in Unit.
    assert_eq!(servers("").unwrap().config.upstreams[0].servers, []);
}

#[test]
fn a_pass_to_a_missing_upstream_is_refused() {
    let listener = |pass: &str| {
        check(&format!(
            r#"{{"listeners":{{"*:80":{{"pass":"{pass}"}}}},
                "upstreams":{{"a/b":{{"servers":{{}}}}}}}}"#
        ))
    };
    let pass = |checked: Checked| checked.config.listeners[0].pass.clone();
    assert_eq!(
        pass(listener("upstreams/a%2Fb").unwrap()),
        Pass::Upstream("a/b".to_owned())
    );
    assert!(matches!(
        pass(listener("upstreams/$host").unwrap()),
        Pass::Variable(_)
    ));
    for nowhere in ["upstreams", "upstreams/none", "upstreams/a%2Fb/c"] {
        refused(
            listener(nowhere),
            "/listeners/*:80/pass",
            &format!("Request \"pass\" points to invalid location \"{nowhere}\"."),
        );
    }
    refused(
        check(r#"{"routes":[{"action":{"pass":"upstreams/none"}}]}"#),
        "/routes/0/action/pass",
        "Request \"pass\" points to invalid location \"upstreams/none\".",
    );
}

#[test]
fn a_proxy_is_an_http_uri_with_an_address() {
    for (text, address) in addresses() {
        let config = proxy(&format!("http://{text}")).unwrap().config;
        let action = &config.routes[0].steps.steps()[0].1;
        assert_eq!(action.kind, ActionKind::Proxy(address));
    }
    let wrong = |text: &str, shown: &str| {
        refused(
            proxy(text),
            "/routes/0/action/proxy",
            &format!("The \"proxy\" address is invalid \"{shown}\""),
        );
    };
    for text in NO_ADDRESSES {
        let shown = text.replace("\\u0000", "\0");
        wrong(&format!("http://{text}"), &shown);
    }
    for text in [
        "127.0.0.1:80",
        "https://127.0.0.1:80",
        "HTTP://127.0.0.1:80",
    ] {
        wrong(text, text);
    }
    wrong("http://$host", "$host");
    refused(
        check(r#"{"routes":[{"action":{"proxy":"http://127.0.0.1:80","weight":1}}]}"#),
        "/routes/0/action",
        "Unknown parameter \"weight\".",
    );
    let both = r#"{"routes":[{"action":{"proxy":"http://127.0.0.1:80","rewrite":"/a",
                  "response_headers":{"A":"b"}}}]}"#;
    assert!(check(both).is_ok());
}
