//! Session resumption: by the cache and by tickets, and for how long.

use std::sync::Arc;
use std::time::Duration;

use certificates::{Certificates, ServerTls, SessionOptions, TicketKey, Tickets, TlsOptions};
use rustls::version::{TLS12, TLS13};

use crate::peer::{Client, Clock, VERSIONS, certificates};
use crate::support::bundle;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v";

fn key(first: &str) -> TicketKey {
    TicketKey::parse(&format!("{first}{}", &KEY[first.len()..])).unwrap()
}

fn keys(firsts: &[&str]) -> Tickets {
    Tickets::Keys(firsts.iter().map(|first| key(first)).collect())
}

struct Setup {
    certificates: Certificates,
    clock: Arc<Clock>,
}

impl Setup {
    fn new() -> Self {
        Self {
            certificates: certificates(&[("a", &bundle("a", &[]))]),
            clock: Arc::default(),
        }
    }

    fn server(&self, cache_size: usize, timeout: u64, tickets: Tickets) -> ServerTls {
        let options = TlsOptions {
            session: SessionOptions {
                cache_size,
                timeout: Duration::from_secs(timeout),
                tickets,
            },
            ..TlsOptions::new(["a"])
        };
        ServerTls::with_clock(options, &self.certificates, self.clock.clone()).unwrap()
    }
}

#[test]
fn session_resumption_is_off_by_default() {
    let setup = Setup::new();
    let default = ServerTls::new(TlsOptions::new(["a"]), &setup.certificates).unwrap();
    for server in [default, setup.server(0, 300, keys(&[]))] {
        for version in VERSIONS {
            let client = Client::new(version);
            assert!(!client.resumes(&server) && !client.resumes(&server));
            assert_eq!(
                client.connect(&server, "a").client.tls13_tickets_received(),
                0
            );
        }
    }
}

#[test]
fn the_session_cache_resumes_until_the_timeout() {
    let setup = Setup::new();
    for version in VERSIONS {
        let server = setup.server(10, 60, Tickets::Off);
        let client = Client::new(version);
        assert!(!client.resumes(&server));
        assert!(client.resumes(&server) && client.resumes(&server));
        setup.clock.advance(60);
        assert!(client.resumes(&server));
        setup.clock.advance(61);
        assert!(!client.resumes(&server));
        assert!(client.resumes(&server));
        // Another server does not know the session.
        assert!(!client.resumes(&setup.server(10, 60, Tickets::Off)));
    }
}

/// With TLS 1.3, a connection brings two sessions, as with OpenSSL.
#[test]
fn the_session_cache_keeps_the_configured_number() {
    let setup = Setup::new();
    for (version, size) in [(&TLS12, 2), (&TLS13, 4)] {
        let server = setup.server(size, 60, Tickets::Off);
        let clients = [(); 4].map(|()| Client::new(version));
        for client in &clients {
            assert!(!client.resumes(&server));
        }
        assert!(clients[2].resumes(&server));
        assert!(!clients[0].resumes(&server));
    }
}

#[test]
fn session_tickets_with_random_keys_resume_on_one_server_only() {
    let setup = Setup::new();
    for version in VERSIONS {
        for cache_size in [0, 10] {
            let server = setup.server(cache_size, 60, Tickets::On);
            let client = Client::new(version);
            assert!(!client.resumes(&server));
            assert!(client.resumes(&server) && client.resumes(&server));
            let other = setup.server(cache_size, 60, Tickets::On);
            assert!(!client.resumes(&other) && client.resumes(&other));
        }
    }
}

#[test]
fn session_tickets_with_a_configured_key_resume_on_every_server_with_it() {
    let setup = Setup::new();
    for version in VERSIONS {
        let client = Client::new(version);
        assert!(!client.resumes(&setup.server(0, 300, keys(&["one"]))));
        assert!(client.resumes(&setup.server(0, 300, keys(&["one"]))));
        assert!(!client.resumes(&setup.server(0, 300, keys(&["two"]))));
        // The session is the second one's now; both know it, and the last key renews it.
        let both = keys(&["two", "one"]);
        assert!(client.resumes(&setup.server(0, 300, both)));
        assert!(client.resumes(&setup.server(0, 300, keys(&["one"]))));
    }
}

/// The scenario of Unit's documentation: add a key, remove the oldest one.
#[test]
fn ticket_keys_are_rotated_without_a_full_handshake() {
    let setup = Setup::new();
    for version in VERSIONS {
        let client = Client::new(version);
        assert!(!client.resumes(&setup.server(0, 300, keys(&["one", "two"]))));
        for firsts in [["two", "six"], ["six", "ten"], ["ten", "old"]] {
            assert!(client.resumes(&setup.server(0, 300, keys(&firsts))));
        }
    }
}

#[test]
fn session_tickets_expire_after_the_timeout_with_a_cache_and_after_two_hours_without() {
    let setup = Setup::new();
    for version in VERSIONS {
        for tickets in [Tickets::On, keys(&["one"])] {
            for (cache_size, lifetime) in [(1, 60), (0, 7200)] {
                let server = setup.server(cache_size, 60, tickets.clone());
                let client = Client::new(version);
                assert!(!client.resumes(&server));
                setup.clock.advance(lifetime);
                assert!(client.resumes(&server));
                setup.clock.advance(lifetime + 1);
                assert!(!client.resumes(&server), "{cache_size}");
            }
        }
    }
}

#[test]
fn sessions_are_resumed_after_a_replacement_of_certificates() {
    let setup = Setup::new();
    for version in VERSIONS {
        for (cache_size, tickets) in [(10, Tickets::Off), (0, Tickets::On)] {
            let server = setup.server(cache_size, 300, tickets);
            let client = Client::new(version);
            assert!(!client.resumes(&server));
            server
                .update(&certificates(&[("a", &bundle("new", &[]))]))
                .unwrap();
            assert!(client.resumes(&server));
        }
    }
}

#[test]
fn a_session_is_resumed_for_its_own_server_name_only() {
    let setup = Setup::new();
    let server = setup.server(10, 300, Tickets::On);
    let client = Client::new(&TLS13);
    client.connect(&server, "other.example");
    assert!(!client.resumes(&server));
}

#[test]
fn equal_options_compare_equal_and_show_no_secret() {
    let options = |first| SessionOptions {
        tickets: keys(&[first]),
        ..SessionOptions::default()
    };
    assert_eq!(options("one"), options("one"));
    assert_ne!(options("one"), options("two"));
    assert_eq!(options("one").timeout, Duration::from_secs(300));
    assert!(format!("{:?}", options("one")).contains("TicketKey { .. }"));
    let server = Setup::new().server(1, 300, keys(&["one"]));
    let shown = format!("{server:?}");
    assert!(!shown.contains("17, 18, 19"), "{shown}");
}
