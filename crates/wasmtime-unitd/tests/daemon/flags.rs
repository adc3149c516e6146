//! The command line.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_suite::{
    Client, DEADLINE, FrontEnd as _, LONG, Running, configuration, free_address, within,
};

use crate::peer::Pair;
use crate::support::{Daemon, Ended, Process, can_become_another_user, daemon, run};

#[test]
fn help_and_version_are_printed() {
    let help = run(["--help"]);
    assert_eq!(help.code, Some(0), "{help:?}");
    for word in [
        "--control",
        "--control-mode",
        "--control-user",
        "--control-group",
        "--statedir",
        "--state",
        "--pid",
        "--log",
        "--tmpdir",
        "--modulesdir",
        "--user",
        "--group",
        "--no-daemon",
        "--cachedir",
        "--max-instances",
        "--max-memory",
        "--initial-config",
        "--no-compile",
        "--listen-health",
        "--log-format",
        "--shutdown-delay",
        "--version",
        "serve",
        "check",
        "compile",
        "schema",
    ] {
        assert!(help.output.contains(word), "{word} in {}", help.output);
    }
    let version = run(["--version"]);
    assert_eq!(version.code, Some(0));
    let wanted = format!("wasmtime-unitd {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(version.output, wanted);
}

#[test]
fn unknown_flags_and_values_are_refused() {
    run(["--nonsense"]).assert_refused("--nonsense");
    run(["nonsense"]).assert_refused("nonsense");
    run(["--control-mode", "888"]).assert_refused("888");
    run(["--control", "nowhere"]).assert_refused("nowhere");
    run(["--shutdown-timeout", "soon"]).assert_refused("soon");
    run(["--shutdown-delay", "-1"]).assert_refused("-1");
    run(["--listen-health", "9000"]).assert_refused("9000");
    run(["--log-format", "xml"]).assert_refused("expected text or json");
    run(["--max-instances", "0"]).assert_refused("0");
    run(["--max-memory", "16MiB"]).assert_refused("16MiB");
    run(["--max-memory", "1000"]).assert_refused("1000");
    run(["serve"]).assert_refused("COMPONENT");
    run(["--allow-substitution", "--config", "c.json"]).assert_refused("--config");
    if can_become_another_user() {
        run(["--allow-substitution", "--user", "root"]).assert_refused("--user");
    }
}

#[test]
fn check_accepts_valid_and_refuses_invalid_configurations() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.json");
    let check = || run(["check".as_ref(), file.as_os_str()]);
    run(["check".as_ref(), file.as_os_str()]).assert_refused("c.json");

    let good = configuration::guests(&["hello"]).replace("{hello}", "127.0.0.1:8080");
    fs::write(&file, &good).unwrap();
    let ended = check();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.output.contains("valid"), "{ended:?}");

    fs::write(&file, "{").unwrap();
    check().assert_refused("line 1");
    fs::write(
        &file,
        r#"{"listeners": {}, "applications": {}, "nonsense": 1}"#,
    )
    .unwrap();
    check().assert_refused("nonsense");
    fs::write(&file, good.replace("hello.wasm", "gone.wasm")).unwrap();
    check().assert_refused("gone.wasm");
    fs::write(&file, good.replace("applications/hello", "applications/x")).unwrap();
    check().assert_refused("applications/x");
    // A folder, as of --config.
    let check_folder = || run(["check".as_ref(), directory.path().as_os_str()]);
    fs::write(&file, &good).unwrap();
    let ended = check_folder();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    fs::write(directory.path().join("d.json"), "\n{\"listeners\": 1}").unwrap();
    check_folder().assert_refused("d.json\", line 2, column 15: \"/listeners\" is also in ");
    fs::remove_file(&file).unwrap();
    check_folder().assert_refused("d.json\", line 2, column 15: ");
    fs::write(&file, r#"{"access_log": "${env:TEST_UNSET}"}"#).unwrap();
    check().assert_refused("c.json\", line 1, column 16: The environment variable");
    // What it stands for is not shown.
    let secret = directory.path().join("secret");
    fs::write(&secret, "a secret name").unwrap();
    let hidden = good.replace("hello.wasm", &format!("${{file:{}}}", secret.display()));
    fs::write(&file, hidden).unwrap();
    let ended = check();
    ended.assert_refused("${file:");
    assert!(!ended.errors.contains("a secret name"), "{ended:?}");
    run(["check", "/dev/null"]).assert_refused("neither a file nor a folder");
}

#[test]
fn check_looks_for_certificates_in_the_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (file, state) = (
        directory.path().join("c.json"),
        directory.path().join("state"),
    );
    let tls = r#"{"pass": "routes", "tls": {"certificate": ["one", "two"]}}"#;
    let text = format!(r#"{{"listeners": {{"127.0.0.1:8443": {tls}}}, "routes": []}}"#);
    fs::write(&file, text).unwrap();
    let check = || {
        run([
            "check".as_ref(),
            "--statedir".as_ref(),
            state.as_os_str(),
            file.as_os_str(),
        ])
    };
    let ended = run(["check".as_ref(), file.as_os_str()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.errors.contains("are not checked"), "{ended:?}");

    check().assert_refused("Certificate \"one\" is not found.");
    // It only looks.
    assert!(!state.exists());
    fs::create_dir_all(state.join("certs")).unwrap();
    let bundle = Pair::new(&["a.example"]).bundle();
    fs::write(state.join("certs/one"), &bundle).unwrap();
    fs::write(state.join("certs/two"), "nonsense").unwrap();
    check().assert_refused("the certificate \"two\" cannot be used");
    check().assert_refused("/listeners/127.0.0.1:8443/tls/certificate/1");
    fs::write(state.join("certs/two"), &bundle).unwrap();
    let ended = check();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.errors.contains("certificates"), "{ended:?}");
}

#[test]
fn check_warns_of_shares_of_the_servers_own_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.json");
    fs::write(
        &file,
        r#"{"routes": [{"action": {"share": "/var/lib$uri"}}]}"#,
    )
    .unwrap();
    let ended = run(["check".as_ref(), file.as_os_str()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let warning = "warning: /routes/0/action/share: clients can read the private keys in \
                   /var/lib/wasmtime-unitd/certs";
    assert!(ended.errors.contains(warning), "{ended:?}");
}

#[test]
fn check_reads_standard_input() {
    for (text, code) in [("{\"listeners\": {}}", 0), ("nonsense", 1)] {
        let mut check = Process::spawn(daemon().args(["check", "-"]).stdin(Stdio::piped()));
        let mut input = check.child.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        assert_eq!(check.ended().code, Some(code), "{text}");
    }
}

#[test]
fn the_schema_is_printed_as_json() {
    let ended = run(["schema"]);
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
    assert!(ended.output.ends_with("}\n") && !ended.output.contains('\r'));
    let printed = config::parse(ended.output.as_bytes()).unwrap();
    assert_eq!(printed, config::json_schema());
    // Its members are those of the configuration, as `check` names them.
    for path in [
        "/$schema",
        "/properties/listeners",
        "/$defs/limits/properties/memory/maximum",
    ] {
        let path = config::Path::parse(path).unwrap();
        assert!(printed.at(&path).is_some(), "{path}");
    }
    run(["schema", "unexpected"]).assert_refused("unexpected");
}

#[test]
fn a_schema_that_cannot_be_written_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = daemon().arg("schema").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("cannot write to standard output"),
        "{errors}"
    );
}

#[test]
fn serve_serves_one_component_and_prints_its_address() {
    let serve = Process::spawn(
        daemon()
            .arg("serve")
            .arg(test_components::guest("environment"))
            .args(["--listen", "127.0.0.1:0", "--env", "A=1", "--env", "B=x=y"])
            .stdin(Stdio::null()),
    );
    let mut client = Client::connect(address_of(&serve));
    client.get("/").assert_text("A=1\nB=x=y\n");
    kill(
        Pid::from_raw(serve.child.id().cast_signed()),
        Signal::SIGINT,
    )
    .unwrap();
    assert_eq!(serve.ended().code, Some(0));
}

#[test]
fn serve_listens_on_the_port_of_the_environment_unless_an_address_is_given() {
    let hello = test_components::guest("hello");
    let serve = |port: &str| {
        let mut command = daemon();
        command.arg("serve").arg(&hello).env("PORT", port);
        command.stdin(Stdio::null());
        command
    };
    let port = free_address().port();
    let process = Process::spawn(&mut serve(&port.to_string()));
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    assert_eq!(address_of(&process), everywhere);
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Client::connect(here)
        .get("/")
        .assert_text("Hello, world!\n");
    drop(process);
    Ended::of(&mut serve("80a")).assert_refused("PORT is not a port from 1 to 65535: \"80a\"");
    let process = Process::spawn(serve("80a").args(["--listen", "127.0.0.1:0"]));
    assert!(address_of(&process).ip().is_loopback());
}

#[test]
fn serve_accepts_the_options_of_an_application() {
    let serve = Process::spawn(
        daemon()
            .arg("serve")
            .arg(test_components::guest("spin"))
            .args(["--listen", "127.0.0.1:0"])
            .args(["--set", "limits/execution_timeout=0.05"])
            .stdin(Stdio::null()),
    );
    let mut client = Client::connect(address_of(&serve));
    client.get("/").assert_page(504);
}

#[test]
fn serve_gives_guests_the_host_with_its_port_as_authority() {
    for (set, authority) in [
        (None, "localhost:8081"),
        (Some(r#"authority="server-name""#), "localhost"),
    ] {
        let mut command = daemon();
        command
            .arg("serve")
            .arg(test_components::guest("headers"))
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null());
        if let Some(set) = set {
            command.args(["--set", set]);
        }
        let serve = Process::spawn(&mut command);
        let mut client = Client::connect(address_of(&serve));
        client.send("GET / HTTP/1.1\r\nhost: localhost:8081\r\n\r\n");
        let expected = format!("GET http {authority} /\nhost: localhost:8081\n");
        client.response().assert_text(&expected);
    }
}

#[test]
fn serve_accepts_request_bodies_of_any_size() {
    let serve = Process::spawn(
        daemon()
            .arg("serve")
            .arg(test_components::guest("count"))
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null()),
    );
    let length = (8 << 20) + 1;
    let body = "a".repeat(length);
    let mut client = Client::connect(address_of(&serve));
    client.post("/", &body).assert_text(&format!("{length}\n"));
}

#[test]
fn serve_names_the_invalid_option() {
    let hello = test_components::guest("hello");
    let set = |setting: &str| {
        run([
            "serve".as_ref(),
            hello.as_os_str(),
            "--set".as_ref(),
            setting.as_ref(),
        ])
    };
    set("limits/memory=-1").assert_refused("/applications/component/limits/memory");
    set("limits/memroy=1").assert_refused("Did you mean \"memory\"?");
    set(r#"authority="hots""#).assert_refused("Did you mean \"host\"?");
    set("nothing/there=1").assert_refused("--set /nothing/there");
    set(r#"access/outbound_http=["example.com"]"#).assert_refused("outbound_http/0");
    set(r#"access/filesystem=["/nowhere/at/all"]"#).assert_refused("/nowhere/at/all");
}

/// The address of a server that was started with port 0.
fn address_of(serve: &Process) -> SocketAddr {
    within(LONG, "the address is printed", || {
        let output = serve.output();
        let (line, _) = output.split_once('\n')?;
        line.trim_end_matches('/')
            .rsplit("http://")
            .next()?
            .parse()
            .ok()
    })
}

#[test]
fn serve_refuses_a_component_that_it_cannot_serve() {
    let address = free_address();
    let _taken = std::net::TcpListener::bind(address).unwrap();
    let hello = test_components::guest("hello");
    let listen = address.to_string();
    run([
        "serve".as_ref(),
        hello.as_os_str(),
        "--listen".as_ref(),
        listen.as_ref(),
    ])
    .assert_refused(&listen);
    run(["serve", "/nowhere/x.wasm"]).assert_refused("/nowhere/x.wasm");
    let module = test_components::example_core_module();
    run(["serve".as_ref(), module.as_os_str()]).assert_refused("wasm-tools component new");
}

#[test]
fn a_second_daemon_cannot_use_the_same_state_directory() {
    let first = Running::idle(&Daemon);
    let other = tempfile::tempdir().unwrap();
    let mut second = daemon();
    second
        .arg("--control")
        .arg(format!("unix:{}", other.path().join("c.sock").display()))
        .arg("--statedir")
        .arg(first.directory().join("state"));
    Ended::of(&mut second).assert_refused("state");
    assert_eq!(first.get("/config/listeners"), "{}");
}

#[test]
fn a_second_daemon_cannot_use_the_same_control_socket() {
    let first = Running::idle(&Daemon);
    let other = tempfile::tempdir().unwrap();
    let mut second = daemon();
    second
        .arg("--control")
        .arg(format!("unix:{}", first.control_socket().display()))
        .arg("--statedir")
        .arg(other.path());
    Ended::of(&mut second).assert_refused("control.sock");
    assert_eq!(first.get("/config/listeners"), "{}");
}

#[test]
fn the_control_socket_of_a_killed_server_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let command = Daemon.command(directory.path());
    // The old file exists already, so this waits until the daemon answers.
    let server = Running::launch(command, directory);
    assert_eq!(server.get("/config/listeners"), "{}");
}

#[test]
fn a_file_that_is_not_a_socket_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("control.sock");
    fs::write(&file, "precious").unwrap();
    Ended::of(&mut Daemon.command(directory.path())).assert_refused("not a socket");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn only_the_owner_can_connect_to_the_control_socket_by_default() {
    let mode = |server: &Running| {
        let permissions = fs::metadata(server.control_socket()).unwrap().permissions();
        permissions.mode() & 0o777
    };
    assert_eq!(mode(&Running::idle(&Daemon)), 0o600);
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    command.args(["--control-mode", "0660"]);
    assert_eq!(mode(&Running::launch(command, directory)), 0o660);
}

#[test]
fn the_pid_file_exists_while_the_process_runs() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let mut command = Daemon.command(directory.path());
    command.arg("--pid").arg(&file);
    let mut server = Running::launch(command, directory);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, format!("{}\n", server.pid()));
    assert_eq!(server.stop().code(), Some(0));
    assert!(!file.exists());
}

#[test]
fn the_pid_file_does_not_follow_a_symlink() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("pid"));
    fs::write(&file, "precious").unwrap();
    symlink(&file, &link).unwrap();
    let mut command = Daemon.command(directory.path());
    Ended::of(command.arg("--pid").arg(&link)).assert_refused("process id");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn unknown_users_and_groups_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for flag in ["--user", "--control-user", "--control-group"] {
        let mut command = Daemon.command(directory.path());
        Ended::of(command.args([flag, "no-such-one"])).assert_refused("no-such-one");
    }
    let mut command = Daemon.command(directory.path());
    Ended::of(command.args(["--group", "root"])).assert_refused("--user");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("state"), "a file").unwrap();
    Ended::of(&mut Daemon.command(directory.path())).assert_refused("state");
}

#[test]
fn the_control_api_can_listen_on_tcp_and_on_an_abstract_socket() {
    let directory = tempfile::tempdir().unwrap();
    let address = free_address();
    for control in [
        address.to_string(),
        format!("unix:@wasmtime-unitd-test-{address}"),
    ] {
        let process = Process::spawn(
            daemon()
                .args(["--control", &control, "--statedir"])
                .arg(directory.path().join("state"))
                .stdin(Stdio::null()),
        );
        let ready = within(DEADLINE, "the daemon is ready", || {
            let log = process.errors();
            log.lines()
                .find(|line| line.contains("is ready"))
                .map(str::to_owned)
        });
        assert!(ready.contains(&control), "{ready}");
        let answer = if control.starts_with("unix:") {
            use std::os::linux::net::SocketAddrExt as _;
            let name = control.strip_prefix("unix:@").unwrap();
            let name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
            let stream = std::os::unix::net::UnixStream::connect_addr(&name).unwrap();
            Client::over(stream).get("/config")
        } else {
            Client::connect(address).get("/config")
        };
        assert_eq!(answer.head.status, 200);
    }
}

#[test]
fn the_log_is_standard_error_by_default() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
    let mut command = daemon();
    command
        .arg("--control")
        .arg(format!(
            "unix:{}",
            directory.path().join("control.sock").display()
        ))
        .arg("--state")
        .arg(directory.path().join("state"))
        .args(["--tmp", "/tmp", "--modules", "/nowhere"]);
    let server = Running::launch(command, directory);
    test_suite::until("the log is there", || server.errors().contains("[info] "));
}
