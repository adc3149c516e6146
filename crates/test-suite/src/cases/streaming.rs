//! Bodies stream both ways, and cost the same however long they are.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Channel};

use crate::http2::{Http2, empty, read, request};
use crate::{End, FrontEnd, LONG, Need, Running, Watch, configuration, until};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a body of any length may cost.
const BOUND: u64 = 64 * MIB;

/// By when a guest that reads a gibibyte has to respond, in seconds: on a busy machine, a build without optimisations
/// needs more than the default.
const LIMIT: u32 = 120;

/// What a client sends.
const POST_CHUNKED: &str =
    "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";

/// Bytes `start..start + length` of the body that the guest `download` sends.
fn pattern(start: usize, length: usize) -> impl Iterator<Item = u8> {
    (start..start + length).map(|i| (i % 251) as u8)
}

/// A socket for what takes long.
fn socket(server: &Running, name: &str) -> TcpStream {
    let socket = TcpStream::connect(server.address(name)).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket.set_write_timeout(Some(LONG)).unwrap();
    socket
}

pub fn a_guest_may_respond_before_the_request_body_is_complete(front: &impl FrontEnd) {
    let server = Running::guests(front, &["early"]);
    let mut client = server.connect("early");
    client.send("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nfour");
    client.response().assert_text("early\n");
}

pub fn request_and_response_bodies_stream_at_the_same_time(front: &impl FrontEnd) {
    let server = Running::guests(front, &["echo"]);
    let mut client = server.connect("echo");
    client.send(POST_CHUNKED);
    assert_eq!(client.head().status, 200);
    for text in ["one", "another", "x", "the last"] {
        client.send(format!("{:x}\r\n{text}\r\n", text.len()));
        assert_eq!(client.pieces(text.len()), text.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.rest(), (vec![], vec![], End::Complete));
    // The connection is kept alive.
    client.post("/", "again").assert_text("again");
}

pub fn request_and_response_bodies_stream_over_http2(front: &impl FrontEnd) {
    let server = Running::guests(front, &["echo"]);
    let mut http2 = Http2::connect(server.address("echo"));
    let (mut sender, body) = Channel::<Bytes>::new(1);
    let response = http2.begin(request("POST", "/").body(body.boxed()).unwrap());
    let mut incoming = response.into_body();
    for text in ["one", "another", "x", "the last"] {
        let piece = http2.wait(async {
            sender.send_data(Bytes::from(text)).await.unwrap();
            incoming.frame().await.unwrap().unwrap()
        });
        assert_eq!(piece.into_data().unwrap(), text);
    }
    drop(sender);
    let rest = http2.wait(incoming.collect()).unwrap();
    assert_eq!(rest.to_bytes(), "");
}

pub fn trailers_pass_both_ways(front: &impl FrontEnd) {
    let server = Running::guests(front, &["echo"]);
    let mut client = server.connect("echo");
    client.send(
        "POST / HTTP/1.1\r\nhost: localhost\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\
         trailer: x-checksum\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Checksum: 1234\r\n\r\n",
    );
    let response = client.response();
    response.assert_text("hello");
    assert_eq!(
        response.trailers,
        [("x-checksum".to_owned(), "1234".to_owned())]
    );
    assert_eq!(response.head.field("trailer"), Some("x-checksum"));
    // A client that asks for none gets none.
    client.send(format!(
        "{POST_CHUNKED}5\r\nhello\r\n0\r\nX-Checksum: 1234\r\n\r\n"
    ));
    let response = client.response();
    response.assert_text("hello");
    assert_eq!(response.trailers, []);
}

pub fn trailers_that_are_not_sent_over_http1_are_logged_once(front: &impl FrontEnd) {
    let server = Running::guests(front, &["echo"]);
    let mut client = server.connect("echo");
    let mut send = |te: &str, trailer: &str| {
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\n{te}transfer-encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n{trailer}: 1234\r\n\r\n"
        ));
        client.response()
    };
    assert_eq!(send("te: trailers\r\n", "x-checksum").trailers.len(), 1);
    assert_eq!(server.log_lines("trailers"), [""; 0]);
    for _ in 0..3 {
        assert_eq!(send("", "x-checksum").trailers, []);
        assert_eq!(send("te: trailers\r\n", "x-other").trailers, []);
    }
    let line = server.wait_for_log("a client has to accept them with \"te: trailers\"");
    assert!(
        line.contains("[info]") && line.contains("application \"echo\""),
        "{line}"
    );
    let line = server.wait_for_log("its field \"trailer\" has to name them");
    assert!(
        line.contains("[warn]") && line.contains("application \"echo\""),
        "{line}"
    );
    assert_eq!(server.log_lines("trailers").len(), 2);
}

pub fn trailers_pass_both_ways_over_http2(front: &impl FrontEnd) {
    let server = Running::guests(front, &["echo"]);
    let mut http2 = Http2::connect(server.address("echo"));
    let (mut sender, body) = Channel::<Bytes>::new(3);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1234".parse().unwrap());
    http2.wait(async {
        sender.send_data(Bytes::from("hello")).await.unwrap();
        sender.send_trailers(trailers.clone()).await.unwrap();
    });
    drop(sender);
    let request = request("POST", "/").header("te", "trailers");
    let response = http2.begin(request.body(body.boxed()).unwrap());
    let answer = http2.read(response);
    assert_eq!(answer.summary(), (200, "hello".to_owned(), true));
    assert_eq!(answer.trailers, Some(trailers));
}

pub fn a_download_has_every_byte_in_its_place(front: &impl FrontEnd) {
    const SIZE: usize = 5_000_000;
    let server = Running::guests(front, &["download"]);
    let mut client = server.connect("download");
    for target in [format!("/?{SIZE}"), format!("/?{SIZE}&length")] {
        let response = client.get(&target);
        assert_eq!((response.head.status, response.end), (200, End::Complete));
        assert_eq!(response.body.len(), SIZE);
        assert!(response.body.iter().copied().eq(pattern(0, SIZE)));
    }
    if let Some(mut http2) = Http2::offered(front, &server, "download") {
        let answer = http2.get(&format!("/?{SIZE}"));
        assert!(answer.whole && answer.body.iter().copied().eq(pattern(0, SIZE)));
    }
}

pub fn an_upload_comes_back_with_every_byte_in_its_place(front: &impl FrontEnd) {
    upload_and_back(front, "echo");
}

pub fn an_upload_that_the_host_forwards_comes_back_complete(front: &impl FrontEnd) {
    upload_and_back(front, "forward");
}

fn upload_and_back(front: &impl FrontEnd, guest: &str) {
    const SIZE: usize = 5_000_000;
    let server = Running::guests(front, &[guest]);
    let mut socket = socket(&server, guest);
    let mut reader = crate::Client::over(socket.try_clone().unwrap()).with_deadline(LONG);
    let body: Vec<u8> = pattern(0, SIZE).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            write!(
                socket,
                "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {SIZE}\r\n\r\n"
            )
            .unwrap();
            socket.write_all(&body).unwrap();
        });
        let response = reader.response();
        assert_eq!(response.end, End::Complete);
        assert!(response.body == body);
    });
}

pub fn a_file_that_the_host_reads_is_sent_complete(front: &impl FrontEnd) {
    const SIZE: usize = 5_000_000;
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = pattern(0, SIZE).collect();
    std::fs::write(folder.path().join("content"), &content).unwrap();
    let access = format!(r#""access": {{"filesystem": [{:?}]}}"#, folder.path());
    let configuration = configuration::guests_with(&[("send_file", &access)]);
    let server = Running::start(front, &configuration);
    let response = server.connect("send_file").get("/?content");
    assert_eq!((response.head.status, response.end), (200, End::Complete));
    assert!(response.body == content);
}

pub fn uploading_a_gibibyte_takes_little_memory(front: &impl FrontEnd) {
    let configuration = configuration::guests_with(&[("count", &front.timeout(LIMIT))]);
    let server = Running::start(front, &configuration);
    server.connect("count").post("/", "xyz").assert_text("3\n");
    let watch = Watch::start(&server.pids());
    let mut socket = socket(&server, "count");
    write!(
        socket,
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {GIB}\r\n\r\n"
    )
    .unwrap();
    let piece = vec![b'x'; MIB as usize];
    for _ in 0..GIB / MIB {
        socket.write_all(&piece).unwrap();
    }
    crate::Client::over(socket)
        .with_deadline(LONG)
        .response()
        .assert_text(&format!("{GIB}\n"));
    watch.assert_below(BOUND);
}

pub fn downloading_a_gibibyte_takes_little_memory(front: &impl FrontEnd) {
    let server = Running::guests(front, &["download"]);
    assert_eq!(server.connect("download").get("/?3").body, [0, 1, 2]);
    let watch = Watch::start(&server.pids());
    let mut socket = socket(&server, "download");
    write!(
        socket,
        "GET /?{GIB}&length HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    // The first bytes are a head whose length does not matter here.
    let mut total = 0;
    let mut buffer = vec![0; MIB as usize];
    let mut last = Vec::new();
    loop {
        let length = socket.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        total += length as u64;
        last = buffer[..length].to_vec();
    }
    assert!((GIB..GIB + 1000).contains(&total), "{total}");
    let tail = last.len().min(1000);
    let start = GIB as usize - tail;
    assert!(
        last[last.len() - tail..]
            .iter()
            .copied()
            .eq(pattern(start, tail))
    );
    watch.assert_below(BOUND);
}

pub fn back_pressure_of_a_slow_client_stops_its_guest(front: &impl FrontEnd) {
    const SIZE: u64 = 256 * MIB;
    let server = Running::guests(front, &["download"]);
    assert_eq!(server.connect("download").get("/?3").body, [0, 1, 2]);
    let watch = Watch::start(&server.pids());
    let mut client = server.connect("download");
    client.send(format!(
        "GET /?{SIZE}&length HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    ));
    assert_eq!(client.head().status, 200);
    wait_until_received_bytes_stop_growing(client.socket());
    assert_eq!(server.active("download"), "1", "the guest has ended");
    watch.assert_below(BOUND);
    // And then it reads after all.
    let mut socket = client.socket().try_clone().unwrap();
    let mut buffer = vec![0; MIB as usize];
    let mut total = 0;
    let mut total_at_end = None;
    loop {
        // It may end while the client has all but the connection's end.
        if total_at_end.is_none() && server.active("download") == "0" {
            total_at_end = Some(total);
        }
        match socket.read(&mut buffer).unwrap() {
            0 => break,
            length => total += length as u64,
        }
    }
    // What came with the head is not among it.
    assert!((SIZE - MIB..=SIZE).contains(&total), "{total}");
    assert!(
        total_at_end.is_none_or(|total| total > SIZE / 2),
        "{total_at_end:?} bytes were read when the guest ended"
    );
}

/// Waits until the kernel buffers no more bytes for us.
fn wait_until_received_bytes_stop_growing(socket: &TcpStream) {
    const QUIET: Duration = Duration::from_millis(300);
    let mut buffer = vec![0; 16 * MIB as usize];
    let mut before = (0, Instant::now());
    until("the kernel buffers no more", || {
        let length = socket.peek(&mut buffer).unwrap();
        if length != before.0 {
            before = (length, Instant::now());
        }
        before.1.elapsed() > QUIET
    });
}

pub fn back_pressure_of_a_slow_client_stops_its_guest_over_http2(front: &impl FrontEnd) {
    const SIZE: u64 = 256 * MIB;
    let server = Running::guests(front, &["download"]);
    let mut http2 = Http2::connect(server.address("download"));
    let watch = Watch::start(&server.pids());
    let response = http2.begin(request("GET", &format!("/?{SIZE}")).body(empty()).unwrap());
    // Long enough for a guest without back-pressure to write all of it.
    let started = Instant::now();
    until("the client has waited", || {
        assert_eq!(server.active("download"), "1", "the guest has ended");
        started.elapsed() > Duration::from_secs(1)
    });
    watch.assert_below(BOUND);
    let mut body = response.into_body();
    let total = http2.wait_for(LONG, async {
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            total += frame.unwrap().into_data().unwrap().len() as u64;
        }
        total
    });
    assert_eq!(total, SIZE);
    watch.assert_below(BOUND);
}

pub fn back_pressure_of_a_slow_guest_stops_its_client(front: &impl FrontEnd) {
    let server = Running::guests(front, &["sleep"]);
    let watch = Watch::start(&server.pids());
    let mut socket = socket(&server, "sleep");
    write!(
        socket,
        "POST /?60000 HTTP/1.1\r\nhost: localhost\r\ncontent-length: {GIB}\r\n\r\n"
    )
    .unwrap();
    socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let piece = vec![b'x'; MIB as usize];
    let mut taken = 0;
    let error = loop {
        match socket.write(&piece) {
            Ok(length) => taken += length as u64,
            Err(error) => break error,
        }
        assert!(taken < GIB, "all of it was taken");
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    // Most of it is in the kernel.
    assert!(taken < BOUND, "{} MiB were taken", taken / MIB);
    watch.assert_below(BOUND);
}

pub fn many_streams_share_one_connection(front: &impl FrontEnd) {
    let server = Running::guests(front, &["download"]);
    let http2 = Http2::connect(server.address("download"));
    let answers: Vec<_> = (1..=50)
        .map(|n: usize| {
            let request = request("GET", &format!("/?{}", n * 10_000));
            let response = http2.sender().send_request(request.body(empty()).unwrap());
            // All are read at the same time: one that is not would fill the connection's window.
            (
                n * 10_000,
                http2.spawn(async { read(response.await.unwrap()).await }),
            )
        })
        .collect();
    for (size, answer) in answers {
        let answer = http2.wait(answer).unwrap();
        assert!(answer.whole);
        assert_eq!(answer.body.len(), size);
    }
}

pub fn work_continues_after_the_complete_response(front: &impl FrontEnd) {
    let server = Running::guests(front, &["work_after"]);
    let mut client = server.connect("work_after");
    let begun = Instant::now();
    client.get("/?3000").assert_text("done\n");
    // The client had the complete response, and could send another request, while the guest was working.
    client.get("/?1000").assert_text("done\n");
    let finished = server.log_lines("stdout: work after the response").len();
    assert!(finished == 0 || begun.elapsed() > Duration::from_secs(1));
    if front.lacks(Need::CountedInstances).is_none() {
        assert_eq!(server.active("work_after"), "2");
    }
    until("both have ended", || {
        server
            .log_lines("stdout: work after the response is done")
            .len()
            == 2
    });
    until("nothing is in progress", || {
        server.active("work_after") == "0"
    });
}

pub fn work_continues_after_a_response_without_a_body(front: &impl FrontEnd) {
    let server = Running::guests(front, &["work_after"]);
    let mut client = server.connect("work_after");
    client.send("HEAD /?300 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(client.response_to("HEAD").head.status, 200);
    let mut requests = 1;
    if let Some(mut http2) = Http2::offered(front, &server, "work_after") {
        let response = http2.begin(request("HEAD", "/?300").body(empty()).unwrap());
        assert_eq!(http2.read(response).summary(), (200, String::new(), true));
        requests += 1;
    }
    until("all have ended", || {
        server
            .log_lines("stdout: work after the response is done")
            .len()
            == requests
    });
}

pub fn work_continues_after_the_client_has_left(front: &impl FrontEnd) {
    let server = Running::guests(front, &["work_after"]);
    let mut client = server.connect("work_after");
    client.send("GET /?300 HTTP/1.0\r\n\r\n");
    client.response().assert_text("done\n");
    drop(client);
    server.wait_for_log("work after the response is done");
}

pub fn an_unread_body_does_not_disturb_other_requests(front: &impl FrontEnd) {
    let server = Running::guests(front, &["partial_read", "hello"]);
    let body = "x".repeat(3_000_000);
    let mut client = server.connect("partial_read");
    // The server may close before it has read all of it.
    let _ = client.try_send(format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let response = client.response();
    assert_eq!((response.head.status, response.end), (200, End::Complete));
    let read: usize = response.text().trim().parse().unwrap();
    assert!((1..=16 * 1024).contains(&read));
    // No smuggling: the unread rest of the body is never taken for a request.
    if client
        .try_send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .is_ok()
        && let Ok(response) = client.try_response()
    {
        response.assert_text("0\n");
    }
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
}

pub fn a_guest_gets_the_error_code_of_a_request_body_that_fails(front: &impl FrontEnd) {
    let server = Running::guests(front, &["body_error"]);
    let mut client = server.connect("body_error");
    client.send(format!("{POST_CHUNKED}5\r\nhello\r\n0\r\n\r\n"));
    client.response().assert_text("whole\n");
    // The client gets the error of its own request, regardless of the guest's response.
    client.send(format!("{POST_CHUNKED}5\r\nhelloXX"));
    client.response().assert_page(400);
    server.wait_for_log("the body ended: ErrorCode::HttpProtocolError");
}
