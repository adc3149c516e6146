//! The limits of the crate h2 on what a client may send, each at its edge. The table "Limits of h2" in
//! `docs/security.md` has them.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use server::Timeouts;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

use crate::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, METHOD_GET, PING,
    PRIORITY, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, RawClient, SETTINGS, STREAM_CLOSED,
    fields, frame, get, indexed, indexed_literal, list_size, literal, post, stream_id,
    table_size_update,
};
use crate::support::{
    PATIENT, Running, SHORT, run, run_on_one_thread, start, start_holding, until,
};

const LONG: Duration = Duration::from_secs(30);

/// More than any test has the server hold.
const HELD: u64 = 1 << 30;

/// What a header list must be smaller than.
const SECTION: usize = server::MAX_HEADER_SECTION;

async fn connect(running: &Running) -> RawClient {
    RawClient::connect(running.address).await
}

fn calm(text: &str) -> (u32, String) {
    (ENHANCE_YOUR_CALM, text.to_owned())
}

/// A request that is malformed, which is an error of its stream.
fn malformed(stream: u32) -> Vec<u8> {
    let fields = [fields(METHOD_GET, "/"), literal("connection", "x")].concat();
    frame(HEADERS, END_HEADERS, stream, &fields)
}

fn data(stream: u32, content: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, content)
}

/// Checks that the server has reset as many streams as there are codes, each with its code.
#[track_caller]
fn assert_resets(frames: &[crate::frames::Frame], codes: &[u32]) {
    let resets = frames.iter().filter(|frame| frame.kind == RST_STREAM);
    let resets: Vec<u32> = resets.map(crate::frames::Frame::error_code).collect();
    assert_eq!(resets.len(), codes.len());
    assert_eq!(resets, codes);
}

const LOCAL_RESETS: usize = 1024;

#[test]
fn the_server_resets_1024_streams_of_a_connection_for_errors_and_ends_it_at_the_next() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        // Streams that are skipped count as closed.
        let of_closed_streams = |number| data(stream_id(number), b"x");
        let of_new_streams = |number| malformed(stream_id(10_000 + number));
        let half = LOCAL_RESETS as u32 / 2;
        for (what, makes, code) in [
            (
                "data for closed streams",
                &of_closed_streams as &dyn Fn(u32) -> Vec<u8>,
                vec![STREAM_CLOSED; LOCAL_RESETS],
            ),
            (
                "malformed requests",
                &of_new_streams,
                vec![PROTOCOL_ERROR; LOCAL_RESETS],
            ),
            (
                "both",
                &|number| match number < half {
                    true => of_closed_streams(number),
                    false => of_new_streams(number),
                },
                [
                    [STREAM_CLOSED; LOCAL_RESETS / 2],
                    [PROTOCOL_ERROR; LOCAL_RESETS / 2],
                ]
                .concat(),
            ),
        ] {
            let mut client = connect(&running).await;
            client.assert_served(stream_id(5_000), "/").await;
            let errors: Vec<u8> = (0..LOCAL_RESETS as u32).flat_map(makes).collect();
            client.send(&errors).await;
            assert_resets(&client.round_trips().await, &code);
            client.assert_served(stream_id(20_000), "/").await;
            client.send(&malformed(stream_id(20_001))).await;
            assert_eq!(
                client.goaway().await,
                calm("too_many_internal_resets"),
                "{what}"
            );
        }
    });
}

#[test]
fn streams_beyond_the_stream_limit_are_refused_and_count_as_resets_of_the_server() {
    run(async {
        let running = start_holding("sleep", PATIENT, 16, HELD).await;
        let mut client = connect(&running).await;
        let requests = |numbers: std::ops::Range<u32>| -> Vec<u8> {
            numbers
                .flat_map(|it| get(stream_id(it), "/?60000"))
                .collect()
        };
        client.send(&requests(0..128)).await;
        until("128 are at work", || running.application.active() == 128).await;
        let beyond = 128 + LOCAL_RESETS as u32;
        client.send(&requests(128..beyond)).await;
        let refusals = client.round_trips().await;
        assert_resets(&refusals, &[REFUSED_STREAM; LOCAL_RESETS]);
        assert_eq!(running.application.active(), 128);
        client.send(&requests(beyond..beyond + 1)).await;
        assert_eq!(client.goaway().await, calm("too_many_internal_resets"));
    });
}

#[test]
fn frames_for_50_streams_that_were_reset_are_ignored_for_a_second() {
    const REMEMBERED: usize = 50;
    const MEMORY: Duration = Duration::from_secs(1);
    run(async {
        let running = start("hello", PATIENT, 64).await;
        let ids: Vec<u32> = (0..=REMEMBERED as u32).map(stream_id).collect();
        let requests: Vec<u8> = ids.iter().flat_map(|id| malformed(*id)).collect();
        let late: Vec<u8> = ids.iter().flat_map(|id| data(*id, b"late")).collect();
        let mut client = loop {
            let mut client = connect(&running).await;
            let begun = Instant::now();
            client.send(&requests).await;
            let resets = client.round_trips().await;
            assert_resets(&resets, &[PROTOCOL_ERROR; REMEMBERED + 1]);
            client.send(&late).await;
            let answers = client.round_trips().await;
            // On a machine that is as slow as that, nothing can be said.
            if begun.elapsed() < MEMORY {
                assert_resets(&answers, &[STREAM_CLOSED]);
                assert_eq!(answers.last().unwrap().stream, stream_id(REMEMBERED as u32));
                break client;
            }
        };
        sleep(MEMORY + SHORT).await;
        client.send(&late).await;
        // The one beyond was reset later than the others.
        let answers = client.round_trips().await;
        assert!(answers.len() >= REMEMBERED, "{answers:?}");
        assert_resets(&answers, &vec![STREAM_CLOSED; answers.len()]);
        // Trailers are an error of the connection then.
        sleep(MEMORY + SHORT).await;
        let trailers = frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            ids[0],
            &literal("x", "y"),
        );
        client.send(&trailers).await;
        assert_eq!(client.goaway().await.0, PROTOCOL_ERROR);
    });
}

#[test]
fn a_header_section_has_5_continuation_frames_before_its_last_one() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        let section = |frames: usize| -> Vec<u8> {
            let mut bytes = frame(HEADERS, END_STREAM, 1, &fields(METHOD_GET, "/"));
            for number in 1..=frames {
                let field = literal(&format!("x-{number}"), "y");
                bytes.extend(frame(CONTINUATION, 0, 1, &field));
            }
            bytes
        };
        let last = frame(CONTINUATION, END_HEADERS, 1, &literal("x-last", "y"));
        let mut client = connect(&running).await;
        client.send(&[section(5), last].concat()).await;
        let answer = client.find("answer", |frame| frame.is(HEADERS, 1)).await;
        assert!(answer.is_200(), "{answer:?}");
        client.assert_served(3, "/").await;

        let mut client = connect(&running).await;
        client.send(&section(6)).await;
        assert_eq!(client.goaway().await, calm("too_many_continuations"));
    });
}

/// Bytes of a header list that one byte stands for, once there is an entry of that size in the table.
const ENTRY: usize = 4000;

/// The index of that entry.
const NEWEST: u8 = 62;

/// A block of header fields whose list has so many bytes, mostly by references to one entry of HPACK's table.
fn section(size: usize) -> Vec<u8> {
    let of_field = |bytes: usize| "x".repeat(bytes - 32 - 1);
    let left = size - list_size("GET", "/");
    let times = (left - 100) / ENTRY;
    [
        fields(METHOD_GET, "/"),
        indexed_literal("x", &of_field(ENTRY)),
        references(times - 1),
        literal("y", &of_field(left - times * ENTRY)),
    ]
    .concat()
}

fn references(times: usize) -> Vec<u8> {
    vec![indexed(NEWEST); times]
}

#[test]
fn a_header_section_that_is_too_large_is_a_431_and_one_of_over_128_kib_in_a_frame_a_goaway() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        let flags = END_HEADERS | END_STREAM;
        for (size, is_served) in [(SECTION - 1, true), (SECTION, false), (4 * SECTION, false)] {
            let mut client = connect(&running).await;
            client.send(&frame(HEADERS, flags, 1, &section(size))).await;
            let answer = client.find("answer", |frame| frame.is(HEADERS, 1)).await;
            assert_eq!(answer.is_200(), is_served, "{size}: {answer:?}");
            assert_eq!(answer.is_431(), !is_served, "{size}: {answer:?}");
            // HPACK's table has what was thrown away, too.
            let again = [fields(METHOD_GET, "/"), references(1)].concat();
            client.send(&frame(HEADERS, flags, 3, &again)).await;
            let answer = client.find("answer", |frame| frame.is(HEADERS, 3)).await;
            assert!(answer.is_200(), "{size}: {answer:?}");
        }
        let mut client = connect(&running).await;
        let too_much = section(4 * SECTION + 1);
        client.send(&frame(HEADERS, flags, 1, &too_much)).await;
        assert_eq!(client.goaway().await, calm("header_list_way_too_large"));
    });
}

#[test]
fn each_frame_of_a_header_section_may_decode_to_128_kib() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        // With what is kept of the section, less than the limit of one.
        let kept = list_size("GET", "/") + (SECTION / ENTRY) * ENTRY;
        let most = (4 * SECTION - kept) / ENTRY;
        let begun = frame(HEADERS, END_STREAM, 1, &section(4 * SECTION));
        let mut client = connect(&running).await;
        client.send(&begun).await;
        for number in 1..=6 {
            let flags = if number == 6 { END_HEADERS } else { 0 };
            let more = frame(CONTINUATION, flags, 1, &references(most));
            client.send(&more).await;
        }
        let answer = client.find("answer", |frame| frame.is(HEADERS, 1)).await;
        assert!(answer.is_431(), "{answer:?}");
        client.assert_served(3, "/").await;

        let mut client = connect(&running).await;
        let more = frame(CONTINUATION, 0, 1, &references(most + 1));
        client.send(&[begun, more].concat()).await;
        assert_eq!(client.goaway().await, calm("header_list_way_too_large"));
    });
}

/// What is counted of a data frame of one byte, and how many of them are within the limit.
const LACKING: usize = 256 - 1;
const SMALL_FRAMES: usize = 512 * 1024 / LACKING;

#[test]
fn a_flood_of_small_data_frames_that_are_not_read_ends_the_connection() {
    run(async {
        // The guest reads nothing of its request.
        let running = start("sleep", PATIENT, 16).await;
        let small = data(1, b"x");
        let mut client = connect(&running).await;
        client.send(&post(1, "/?60000")).await;
        client.send(&small.repeat(SMALL_FRAMES)).await;
        assert_resets(&client.round_trips().await, &[]);
        // A large one makes up for as much as it has more than 256 bytes.
        client.send(&data(1, &[b'x'; 256 + LACKING])).await;
        client.send(&small).await;
        assert_resets(&client.round_trips().await, &[]);
        client.send(&small).await;
        assert_eq!(client.goaway().await, calm("too_many_data_frames"));
    });
}

#[test]
fn a_flood_of_empty_data_frames_ends_the_connection_even_if_they_are_read() {
    run(async {
        let running = start("count", PATIENT, 16).await;
        let mut client = connect(&running).await;
        for id in [1, 3] {
            let body = [
                data(id, b"").repeat(50),
                frame(DATA, END_STREAM, id, b"four"),
            ]
            .concat();
            client.send(&[post(id, "/"), body].concat()).await;
            let answer = client.find("answer", |frame| frame.is(DATA, id)).await;
            assert_eq!(answer.payload, b"4\n");
        }
        // 100 were all that the connection may have.
        client.send(&[post(5, "/"), data(5, b"")].concat()).await;
        assert_eq!(client.goaway().await, calm("too_many_data_frames"));
    });
}

#[test]
fn the_dynamic_table_of_hpack_has_4_kib() {
    const TABLE: usize = 4096;
    run(async {
        let running = start("hello", PATIENT, 16).await;
        let flags = END_HEADERS | END_STREAM;
        let request = |id, more: Vec<u8>| {
            frame(
                HEADERS,
                flags,
                id,
                &[fields(METHOD_GET, "/"), more].concat(),
            )
        };
        let entry = |name: &str, size: usize| indexed_literal(name, &"x".repeat(size - 32 - 1));
        for (size, is_kept) in [(TABLE - 1000, true), (TABLE - 1000 + 1, false)] {
            let mut client = connect(&running).await;
            let entries = [entry("a", 1000), entry("b", size)].concat();
            client.send(&request(1, entries)).await;
            let answer = client.find("answer", |frame| frame.is(HEADERS, 1)).await;
            assert!(answer.is_200(), "{answer:?}");
            client.send(&request(3, vec![indexed(NEWEST)])).await;
            let answer = client.find("answer", |frame| frame.is(HEADERS, 3)).await;
            assert!(answer.is_200(), "{answer:?}");
            client.send(&request(5, vec![indexed(NEWEST + 1)])).await;
            if is_kept {
                let answer = client.find("answer", |frame| frame.is(HEADERS, 5)).await;
                assert!(answer.is_200(), "{answer:?}");
            } else {
                assert_eq!(client.goaway().await.0, PROTOCOL_ERROR);
            }
        }
        // A client may ask for less, and not for more.
        for (size, is_taken) in [(0, true), (TABLE, true), (TABLE + 1, false)] {
            let mut client = connect(&running).await;
            let block = [table_size_update(size), fields(METHOD_GET, "/")].concat();
            client.send(&frame(HEADERS, flags, 1, &block)).await;
            if is_taken {
                let answer = client.find("answer", |frame| frame.is(HEADERS, 1)).await;
                assert!(answer.is_200(), "{size}: {answer:?}");
            } else {
                assert_eq!(client.goaway().await.0, PROTOCOL_ERROR, "{size}");
            }
        }
    });
}

/// A client with small buffers in its kernel, so that these are soon full.
async fn connect_with_small_buffers(running: &Running) -> RawClient {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.set_send_buffer_size(16 << 10).unwrap();
    RawClient::over(socket.connect(running.address).await.unwrap()).await
}

/// Frames that want an answer, and the answer to each.
fn answered_frames() -> [(Vec<u8>, u8, &'static [u8]); 2] {
    [
        (frame(PING, 0, 0, b"12345678"), PING, b"12345678"),
        (frame(SETTINGS, 0, 0, b""), SETTINGS, b""),
    ]
}

#[test]
fn a_flood_of_pings_or_settings_is_read_no_faster_than_its_answers_are_taken() {
    // More than all buffers of two kernels together.
    const MOST: usize = 128 << 20;
    run(async {
        let running = start("hello", PATIENT, 16).await;
        for (request, kind, payload) in answered_frames() {
            let mut client = connect_with_small_buffers(&running).await;
            let flood = request.repeat(1000);
            let mut sent = 0;
            // Until the server takes no more.
            while let Ok(written) = {
                let rest = &flood[sent % flood.len()..];
                timeout(SHORT * 5, client.stream.write(rest)).await
            } {
                sent += written.unwrap();
                assert!(
                    sent < MOST,
                    "the server reads on, though its answers are not read"
                );
            }
            // Each has one answer, and is waited for by the next.
            let assert_answer = async |client: &mut RawClient| {
                let answer = client.next().await.unwrap();
                assert_eq!((answer.kind, answer.flags), (kind, ACK), "{answer:?}");
                assert_eq!(answer.payload, payload);
            };
            for _ in 0..sent / request.len() {
                assert_answer(&mut client).await;
            }
            let begun = sent % request.len();
            if begun > 0 {
                client.send(&request[begun..]).await;
                assert_answer(&mut client).await;
            }
            client.assert_served(1, "/").await;
        }
    });
}

#[test]
fn a_flood_of_pings_or_settings_without_a_reader_is_reset_at_the_send_timeout() {
    run(async {
        let timeouts = Timeouts {
            send: SHORT * 5,
            ..PATIENT
        };
        let running = start("hello", timeouts, 16).await;
        for (number, (request, ..)) in (1..).zip(answered_frames()) {
            let mut client = connect_with_small_buffers(&running).await;
            let flood = request.repeat(1000);
            let flooding = async { while client.stream.write_all(&flood).await.is_ok() {} };
            timeout(LONG, flooding).await.unwrap();
            until("it is closed", || {
                running.server.connections().closed == number
            })
            .await;
        }
    });
}

#[test]
fn a_flood_of_frames_without_an_answer_leaves_turns_to_other_connections() {
    // As the daemon serves connections, several on one thread.
    run_on_one_thread(async {
        let running = start("hello", PATIENT, 16).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let flood = {
            let unknown = frame(0xee, 0, 0, b"");
            let flood = [frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 7]), unknown].concat();
            flood.repeat(5000)
        };
        let mut flooding = RawClient::connect(running.address).await;
        flooding.assert_served(1, "/").await;
        let stream = flooding.stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let flooder = std::thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                let mut stream = &stream;
                let mut floods = 0;
                while !is_over.load(Ordering::Relaxed) {
                    stream.write_all(&flood).unwrap();
                    floods += 1;
                }
                floods
            }
        });
        for _ in 0..100 {
            let mut client = connect(&running).await;
            client.assert_served(1, "/").await;
            assert!(!flooder.is_finished(), "the flood has ended");
        }
        is_over.store(true, Ordering::Relaxed);
        // What is on its way is read still, for the thread to end.
        until("the flood is over", || flooder.is_finished()).await;
        assert!(flooder.join().unwrap() > 0);
    });
}

#[test]
fn smuggling_by_white_space_around_a_field_value_is_refused_in_heads_and_trailers() {
    run(async {
        let running = start("count", PATIENT, 16).await;
        let mut client = connect(&running).await;
        let flags = END_HEADERS | END_STREAM;
        let fields = |value| [fields(METHOD_GET, "/"), literal("x-role", value)].concat();
        client.send(&frame(HEADERS, flags, 1, &fields(" a"))).await;
        let answer = client.find("response", |it| it.is(HEADERS, 1)).await;
        assert!(answer.is_400(), "{answer:?}");
        client.send(&frame(HEADERS, flags, 3, &fields("a"))).await;
        let answer = client.find("response", |it| it.is(HEADERS, 3)).await;
        assert!(answer.is_200(), "{answer:?}");
        let trailers = frame(HEADERS, flags, 5, &literal("x-role", "a\t"));
        let request = [post(5, "/"), data(5, b"hello"), trailers].concat();
        client.send(&request).await;
        let answer = client.find("response", |it| it.is(HEADERS, 5)).await;
        assert!(answer.is_400(), "{answer:?}");
    });
}
