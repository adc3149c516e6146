//! Responses that HTTP/2 clients do not take.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use test_suite::{Running, within};

use crate::support::{Daemon, LONG};

const CONNECTIONS: u64 = 20;
const STREAMS: u64 = 128;
const LENGTH: u64 = 16 * 1024;

/// Asks for as many responses as a connection may, with a window of one byte for each.
fn attack(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE is 1.
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]));
    // `:method: GET`, `:scheme: http`, `:authority: a`, `:path: /file`.
    let fields = b"\x82\x86\x01\x01a\x04\x05/file";
    for stream in 0..STREAMS as u32 {
        // END_STREAM and END_HEADERS.
        bytes.extend(frame(1, 5, 2 * stream + 1, fields));
    }
    stream.write_all(&bytes).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn held(server: &Running) -> u64 {
    let path = "/status/memory/held_for_clients/current";
    server.get(path).trim().parse().unwrap()
}

/// A server of one file of [`LENGTH`] bytes.
fn serving(folder: &tempfile::TempDir) -> Running {
    fs::write(folder.path().join("file"), vec![b'x'; LENGTH as usize]).unwrap();
    let configuration = r#"{
        "listeners": {"{main}": {"pass": "routes"}},
        "routes": [{"action": {"share": "{folder}$uri"}}]
    }"#;
    let folder_name = folder.path().display().to_string();
    let configuration = configuration.replace("{folder}", &folder_name);
    Running::start(&Daemon, &configuration)
}

/// The server's memory, without a request to it.
fn resident(server: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

#[test]
fn memory_of_buffered_responses_is_returned_to_the_system_when_the_server_is_idle() {
    let folder = tempfile::tempdir().unwrap();
    let server = serving(&folder);
    server.connect("main").get("/file");
    let before = resident(&server);
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| attack(server.address("main")))
        .collect();
    let all = CONNECTIONS * STREAMS * LENGTH;
    within(LONG, "all is held", || {
        (held(&server) >= all / 10 * 9).then_some(())
    });
    let full = resident(&server);
    assert!(full > before + all / 2, "{before}, {full}");
    drop(clients);
    within(LONG, "nothing is held", || {
        (held(&server) == 0).then_some(())
    });
    // It looks every five seconds whether it is idle, and requests would keep it busy.
    within(LONG, "memory is given back", || {
        thread::sleep(Duration::from_millis(200));
        (resident(&server) < before + all / 5).then_some(())
    });
}

#[test]
fn http_2_streams_of_clients_that_do_not_read_are_reset_and_their_memory_freed() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = serving(&folder);
    assert_eq!(server.put("/config/settings/http/send_timeout", "5").0, 200);
    let address = server.address("main");
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| attack(address)).collect();
    let all = CONNECTIONS * STREAMS * LENGTH;
    within(LONG, "much is held", || {
        (held(&server) > all / 2).then_some(())
    });
    let clients: Vec<_> = (clients.into_iter())
        .map(|mut client| {
            thread::spawn(move || {
                // A reset is an end, too.
                match client.read_to_end(&mut Vec::new()) {
                    Ok(_) => true,
                    Err(error) => error.kind() == ErrorKind::ConnectionReset,
                }
            })
        })
        .collect();
    within(LONG, "nothing is held", || {
        (held(&server) == 0).then_some(())
    });
    for client in clients {
        assert!(client.join().unwrap(), "the server ends the connection");
    }
    let ended = "/status/memory/held_for_clients/ended_connections";
    assert_eq!(server.get(ended).trim(), CONNECTIONS.to_string());
    let served = server.connect("main").get("/file").body.len();
    assert_eq!(served as u64, LENGTH);
}
