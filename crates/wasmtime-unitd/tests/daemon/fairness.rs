//! Fairness between applications: one takes all that it can get, and the requests of another are served as
//! if it were not there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use test_suite::{Client, FrontEnd, LONG, Running, Upstream, Wasi03, configuration, until, within};

use crate::support::Daemon;

/// The daemon with more flags, and with so many open files if that is a number.
struct Small {
    files: Option<u32>,
    flags: &'static [&'static str],
}

impl FrontEnd for Small {
    fn command(&self, directory: &Path) -> Command {
        let daemon = Daemon.command(directory);
        let Some(files) = self.files else {
            let mut daemon = daemon;
            daemon.args(self.flags);
            return daemon;
        };
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("ulimit -n {files}; exec \"$0\" \"$@\""))
            .arg(daemon.get_program())
            .args(daemon.get_args())
            .args(self.flags);
        command
    }
}

fn flags(flags: &'static [&'static str]) -> Small {
    Small { files: None, flags }
}

/// Clients whose requests for `target` are on their way.
fn clients(server: &Running, name: &str, target: &str, count: usize) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut client = server.connect(name).with_deadline(LONG);
            client.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
            client
        })
        .collect()
}

/// So many requests of another application, none of which may fail.
#[track_caller]
fn assert_served(server: &Running, count: usize) {
    for _ in 0..count {
        let mut client = server.connect("hello").with_deadline(LONG);
        client.get("/").assert_text("Hello, world!\n");
    }
}

fn number(server: &Running, path: &str) -> u64 {
    let text = server.get(path);
    let number = text.parse();
    assert!(number.is_ok(), "{path}: {text}");
    number.unwrap()
}

/// A folder with a few files, and the options of an application that has it as `/data`.
fn data(server: &Running) -> String {
    let folder = server.directory().join("data");
    fs::create_dir(&folder).unwrap();
    for number in 0..5 {
        fs::write(folder.join(format!("file{number}")), "content").unwrap();
    }
    let path = folder.display();
    format!(r#""access": {{"filesystem": [{{"path": "{path}", "as": "/data"}}]}}"#)
}

/// Reconfigures a server with the guest `files` twice, and `hello`.
fn with_files(front: &impl FrontEnd) -> Running {
    let mut server = Running::idle(front);
    let data = data(&server);
    let application = |guest: &str, members: &str| {
        configuration::application(&test_components::guest(guest), members)
    };
    let (status, answer) = server.put(
        "/config",
        &configuration::applications_of(&[
            ("greedy", application("files", &data)),
            ("files", application("files", &data)),
            ("hello", application("hello", "")),
        ]),
    );
    assert_eq!(status, 200, "{answer}");
    server
}

const FEW_FILES: Small = Small {
    files: Some(2000),
    flags: &["--threads", "2"],
};

/// What guests may open with that: three sixteenths of what the server does not need itself.
const GUEST_FILES: u64 = (2000 - 256 - 4 * 3) / 16 * 3;

fn guests_leave_open_files_to_others(front: &impl FrontEnd, file: &str) {
    let server = with_files(front);
    let open = |count, sleep| format!("/?open={file}&{count}&{sleep}");
    let mut greedy = clients(&server, "greedy", &open(950, 5000), 30);
    let used = "/status/applications/greedy/instances/files";
    until("files are open", || number(&server, used) >= 200);
    assert_served(&server, 30);
    // Another application has what it needs, and its folder.
    for _ in 0..3 {
        let mut client = server.connect("files").with_deadline(LONG);
        client.get(&open(8, 0)).assert_text("8: all\n");
    }
    let used_now = number(&server, used);
    assert!(used_now <= GUEST_FILES / 4 * 3 + 1, "{used_now}");

    let mut opened = 0;
    for client in &mut greedy {
        let answer = client.response();
        assert_eq!(answer.head.status, 200, "{answer:?}");
        let (count, end) = answer.text().trim_end().split_once(": ").unwrap();
        let count: u64 = count.parse().unwrap();
        assert!(count <= 64, "{answer:?}");
        assert!(end.contains("uota"), "{answer:?}");
        opened += count;
    }
    assert!(opened >= 64, "{opened}");
    until("all are closed", || number(&server, used) == 0);
}

#[test]
fn guests_that_hold_open_files_leave_some_to_the_server_and_to_other_applications() {
    guests_leave_open_files_to_others(&FEW_FILES, "/data/file0");
}

#[test]
fn guests_of_wasi_03_that_hold_open_files_leave_some_to_the_server_and_to_other_applications() {
    guests_leave_open_files_to_others(&Wasi03(FEW_FILES), "file0");
}

#[test]
fn an_instance_may_have_as_many_open_files_as_its_limit() {
    let mut server = with_files(&Daemon);
    let limits = r#"{"files": 3}"#;
    let path = "/config/applications/files/limits";
    assert_eq!(server.put(path, limits).0, 200);
    let mut client = server.connect("files");
    let answer = client.get("/?open=/data/file0&10&0");
    assert!(answer.text().starts_with("3: "), "{answer:?}");
    // Folders that are listed are opened for that.
    let answer = client.get("/?list=/data");
    answer.assert_text("ok: file0 file1 file2 file3 file4\n");
    client
        .get("/?read=/data/file1")
        .assert_text("ok: content\n");
}

#[test]
fn listings_count_as_memory_of_the_application() {
    let server = with_files(&flags(&["--max-memory", "67108864"]));
    let mut lists = clients(&server, "greedy", "/?lists=/data&900&2000", 1);
    let memory = "/status/applications/greedy/instances/memory/current";
    let peak = "/status/applications/greedy/instances/memory/peak";
    until("it begins", || number(&server, memory) > 0);
    lists[0].response().assert_text("900: all\n");
    // Five entries of 64 bytes and a name, 900 times.
    assert!(number(&server, peak) > 1_114_112 + 900 * 5 * 64);
    until("it is given back", || number(&server, memory) == 0);
}

#[test]
fn unread_listings_of_wasi_03_hold_no_threads() {
    let front = Wasi03(flags(&["--threads", "1"]));
    let mut server = with_files(&front);
    let share = format!(
        r#"{{"share": "{}/data$uri"}}"#,
        server.directory().display()
    );
    let routes = format!(r#"[{{"action": {share}}}]"#);
    assert_eq!(server.put("/config/routes", &routes).0, 200);
    let listener = r#"{"pass": "routes"}"#;
    assert_eq!(server.put("/config/listeners/{share}", listener).0, 200);
    let mut lists = clients(&server, "greedy", "/?lists=x&600&3000", 1);
    until("it begins", || server.active("greedy") == "1");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        server.connect("share").get("/file0").assert_text("content");
    }
    lists[0].response().assert_text("600\n");
    let mut client = server.connect("files");
    let entries: Vec<_> = (0..5)
        .map(|number| format!("file{number} DescriptorType::RegularFile"))
        .collect();
    let expected = format!("{}: Ok(())\n", entries.join(", "));
    client.get("/?entries=x").assert_text(&expected);
}

#[test]
fn memory_bombs_leave_memory_for_the_instances_of_other_applications() {
    let front = flags(&["--max-memory", "67108864"]);
    let server = Running::guests(&front, &["memory_bomb", "hello"]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..15 {
                    let mut client = server.connect("memory_bomb").with_deadline(LONG);
                    // It traps, or there is no memory to begin with.
                    assert!(client.get("/").head.status >= 500);
                }
            });
        }
        assert_served(&server, 200);
    });
    assert!(
        number(
            &server,
            "/status/applications/memory_bomb/instances/memory/peak"
        ) > 33_554_432
    );
}

#[test]
fn two_applications_that_hold_all_instances_leave_some_to_a_third() {
    let front = flags(&["--max-instances", "16"]);
    let mut server = Running::guests(&front, &["hello"]);
    let sleep = configuration::application(&test_components::guest("sleep"), "");
    for name in ["one", "two"] {
        let application = format!("/config/applications/{name}");
        assert_eq!(server.put(&application, &sleep).0, 200);
        let listener = format!("/config/listeners/{{{name}}}");
        let pass = format!(r#"{{"pass": "applications/{name}"}}"#);
        assert_eq!(server.put(&listener, &pass).0, 200);
    }
    // Many more wait for what comes free.
    let mut all = clients(&server, "one", "/?3000", 30);
    until("one has its share", || {
        number(&server, "/status/applications/one/instances/active") == 12
    });
    all.extend(clients(&server, "two", "/?3000", 30));
    until("two has its share", || {
        number(&server, "/status/applications/two/instances/active") >= 3
    });
    assert_served(&server, 30);
    drop(all);
}

#[test]
fn an_application_with_a_hundred_endless_loops_leaves_processor_time_to_another() {
    let front = flags(&["--max-instances", "200"]);
    let limits = r#""limits": {"execution_timeout": 60, "timeout": 120}"#;
    let configuration =
        configuration::guests_with(&[("spin", limits), ("compute", limits), ("hello", limits)]);
    let server = Running::start(&front, &configuration);
    let spinning = clients(&server, "spin", "/", 100);
    until("all are at work", || server.active("spin") == "100");
    let computed = || {
        let path = "/status/applications/spin/instances/execution_time";
        server.get(path).parse::<f64>().unwrap()
    };
    // All have left the threads that serve.
    within(LONG, "they compute", || (computed() > 0.6).then_some(()));
    assert_served(&server, 10);
    let before = computed();
    let mut client = server.connect("compute").with_deadline(LONG);
    client
        .get("/?before=400")
        .assert_text("computing\ncomputed\n");
    // Turn by turn of all guests, the others would have computed for a hundred times as long.
    let others = computed() - before;
    assert!(others < 8.0, "{others}");
    drop(spinning);
}

#[test]
fn outgoing_connections_to_a_silent_server_leave_some_to_another_application() {
    let front = Small {
        files: Some(800),
        flags: &["--threads", "1"],
    };
    let upstream = Upstream::start();
    let grant = format!(r#""access": {{"outbound_http": ["{}"]}}"#, upstream.url());
    let fetch = configuration::application(&test_components::guest("fetch"), &grant);
    let applications = [("greedy", fetch.clone()), ("other", fetch)];
    let server = Running::start(&front, &configuration::applications_of(&applications));
    let target = |path: &str| {
        let url = upstream.url();
        format!("GET / HTTP/1.1\r\nhost: a\r\nx-fetch: GET {url}{path}\r\n\r\n")
    };
    let mut greedy: Vec<_> = (0..150)
        .map(|_| {
            let mut client = server.connect("greedy").with_deadline(LONG);
            client.send(target("/silent"));
            client
        })
        .collect();
    // Three sixteenths of what the server does not need are for guests, of which one application gets three quarters.
    let most = (800 - 256 - 4 * 2) / 16 * 3 * 3 / 4 + 1;
    let used = "/status/applications/greedy/instances/files";
    until("it has its share", || number(&server, used) + 3 >= most);
    let refused = within(LONG, "one is refused", || {
        let mut client = greedy.pop()?;
        let text = client.response().text().to_owned();
        text.contains("ConnectionLimitReached").then_some(text)
    });
    assert!(refused.starts_with("error: "), "{refused}");
    assert!(number(&server, used) <= most);
    for _ in 0..10 {
        let mut client = server.connect("other").with_deadline(LONG);
        client.send(target("/hello"));
        client.response().assert_text("hello\n");
    }
}

#[test]
fn clients_and_requests_to_upstreams_leave_open_files_to_each_other_and_to_the_control_socket() {
    const FILES: u32 = 400;
    const LEFT: usize = FILES as usize - 256 - 4 * 2;
    const EXCHANGES: usize = LEFT / 16 * 3;
    const CLIENTS: usize = LEFT - 3 * EXCHANGES;
    let front = Small {
        files: Some(FILES),
        flags: &["--threads", "1"],
    };
    let upstream = Upstream::start();
    let routes = format!(
        r#"[
            {{"match": {{"uri": "/silent"}}, "action": {{"proxy": "{}"}}}},
            {{"action": {{"return": 204}}}}
        ]"#,
        upstream.url()
    );
    let configuration =
        format!(r#"{{"listeners": {{"{{main}}": {{"pass": "routes"}}}}, "routes": {routes}}}"#);
    let server = Running::start(&front, &configuration);
    let mut all = clients(&server, "main", "/silent", EXCHANGES);
    until("they are with the upstream", || {
        upstream.requests() == EXCHANGES
    });
    let mut client = server.connect("main");
    client.get("/silent").assert_page(503);
    assert_eq!(upstream.requests(), EXCHANGES);
    assert_eq!(client.get("/").head.status, 204);
    all.push(client);

    while all.len() < CLIENTS {
        let mut client = server.connect("main");
        assert_eq!(client.get("/").head.status, 204);
        all.push(client);
    }
    // One more waits in the backlog, but not at the control API.
    let mut late = server.connect("main").with_deadline(LONG);
    late.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    for _ in 0..20 {
        let accepted = number(&server, "/status/connections/accepted");
        assert_eq!(accepted, CLIENTS as u64);
    }
    drop(all.pop());
    assert_eq!(late.response().head.status, 204);
}
