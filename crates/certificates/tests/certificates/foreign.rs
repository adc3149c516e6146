//! `openssl s_client` as a client.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use certificates::{ServerTls, SessionOptions, TicketKey, Tickets, TlsOptions};
use rustls::{ServerConnection, StreamOwned};

use crate::peer::certificates;
use crate::support::{Chain, bundle, has_openssl, openssl};

/// Answers every connection with one word until the test ends.
fn serve(server: &ServerTls) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = server.config().clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            let mut request = [0; 4];
            if stream.read_exact(&mut request).is_ok() {
                let _ = stream.write_all(b"pong\n");
                stream.conn.send_close_notify();
                let _ = stream.flush();
                let _ = stream.sock.shutdown(std::net::Shutdown::Write);
                let _ = stream.sock.read_to_end(&mut Vec::new());
            }
        }
    });
    address
}

fn connect(folder: &Path, address: SocketAddr, arguments: &str) -> Output {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments.split_whitespace())
        .arg("-ign_eof")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its handshake may have failed already.
    let _ = child.stdin.take().unwrap().write_all(b"ping");
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn openssl_verifies_the_chain_and_selects_a_certificate_by_sni() {
    if !has_openssl() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::new(&["leaf.example", "middle", "root"]);
    std::fs::write(folder.path().join("root"), &chain.certificates[2]).unwrap();
    let text = chain.certificates[..2].concat() + &chain.key;
    let bundles = [("other", &*bundle("other", &[])), ("chain", &text)];
    let options = TlsOptions::new(["other", "chain"]);
    let server = ServerTls::new(options, &certificates(&bundles)).unwrap();
    let address = serve(&server);
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = format!(
            "{version} -CAfile root -verify_return_error -servername leaf.example \
             -verify_hostname leaf.example -alpn h2,http/1.1"
        );
        let output = connect(folder.path(), address, &arguments);
        let text = said(&output);
        assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
        assert!(text.contains("ALPN protocol: h2"), "{text}");
        assert!(text.contains("pong"), "{text}");
        let output = connect(folder.path(), address, &format!("{version} -noservername"));
        let text = said(&output);
        assert!(
            text.contains("subject=CN = other") || text.contains("subject=CN=other"),
            "{text}"
        );
    }
    let output = connect(folder.path(), address, "-tls1_1");
    assert!(!said(&output).contains("pong"));
}

#[test]
fn openssl_resumes_sessions_from_the_cache_and_with_tickets() {
    if !has_openssl() {
        return;
    }
    let certificates = certificates(&[("a", &bundle("a", &[]))]);
    let key = TicketKey::parse(&"Ab1_".repeat(16)).unwrap();
    for (cache_size, tickets, resumes) in [
        (0, Tickets::Off, false),
        (100, Tickets::Off, true),
        (0, Tickets::On, true),
        (0, Tickets::Keys(vec![key]), true),
    ] {
        let options = TlsOptions {
            session: SessionOptions {
                cache_size,
                tickets,
                ..SessionOptions::default()
            },
            ..TlsOptions::new(["a"])
        };
        let address = serve(&ServerTls::new(options, &certificates).unwrap());
        for version in ["-tls1_2", "-tls1_3"] {
            let folder = tempfile::tempdir().unwrap();
            let first = connect(
                folder.path(),
                address,
                &format!("{version} -sess_out session"),
            );
            assert!(said(&first).contains("New, TLSv1."), "{}", said(&first));
            if !folder.path().join("session").exists() {
                // Without tickets, TLS 1.3 has nothing to write.
                assert!(!resumes, "{version}");
                continue;
            }
            let again = connect(
                folder.path(),
                address,
                &format!("{version} -sess_in session"),
            );
            let text = said(&again);
            assert_eq!(
                text.contains("Reused, TLSv1."),
                resumes,
                "{version} {cache_size}: {text}"
            );
            assert!(text.contains("pong"), "{text}");
        }
    }
}

/// RSA keys are made by `openssl`, since nothing in rustls' family makes them without a C++ compiler.
#[test]
fn openssl_accepts_rsa() {
    if !has_openssl() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let command = "req -x509 -new -newkey rsa:2048 -nodes -keyout key -subj /CN=a -out root";
    openssl(folder.path(), command);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let text = read("key") + &read("root");
    let certificates = certificates(&[("a", &text)]);
    let server = ServerTls::new(TlsOptions::new(["a"]), &certificates).unwrap();
    let address = serve(&server);
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = format!("{version} -CAfile root -verify_return_error");
        let text = said(&connect(folder.path(), address, &arguments));
        assert!(
            text.contains("Verify return code: 0 (ok)") && text.contains("pong"),
            "{text}"
        );
    }
}
