//! What certbot does on a server, step by step, with checks after each. It runs in namespaces, so that all ports are
//! free and no other server has the title of Unit's; all that it starts ends with it.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use regex::Regex;

use crate::command::output;
use crate::server::Server;

/// What makes the requests.
const CLIENT: &str = include_str!("client.py");

const HOST: &str = "www.example.org";

/// So large that it is still under way after the renewal, however slow that is.
const LARGE: u64 = 64 << 20;

/// Goes through it with the programs in `bin` of this folder.
///
/// # Errors
///
/// When a step fails, or its result is not as documented.
pub(crate) fn run(folder: &Path) -> Result<()> {
    let host = CertbotHost::new(folder)?;
    let _authority = host.start_authority()?;
    let walked = host.client(&["root"]).and_then(|_| host.walk());
    forget_servers()?;
    walked.map_err(|error| {
        let log = fs::read_to_string(folder.join("pebble.log")).unwrap_or_default();
        anyhow!("{error:#}\nthe log of pebble:\n{log}")
    })
}

/// The folder that all of them work in.
struct CertbotHost {
    folder: PathBuf,
}

impl CertbotHost {
    fn new(folder: &Path) -> Result<Self> {
        let host = Self {
            folder: folder.to_owned(),
        };
        for folder in ["www", "challenges"] {
            fs::create_dir(host.path(folder))?;
        }
        fs::write(host.path("www/small"), "small")?;
        File::create(host.path("www/large"))?.set_len(LARGE)?;
        output(Command::new("python3").args(["-c", CLIENT, "loopback"]))?;
        Ok(host)
    }

    fn walk(&self) -> Result<()> {
        let server = self.serve()?;
        let with_log = |error| anyhow!("{error:#}\nthe log of the daemon:\n{}", server.output());
        self.obtain_and_renew(&server).map_err(with_log)?;
        let bundle = self.only_bundle(&server)?;
        let serial = self.client(&["serial", HOST])?;
        server.stop()?;

        let server = self.serve()?;
        ensure!(
            self.only_bundle(&server)? == bundle && self.client(&["serial", HOST])? == serial,
            "another certificate after a restart; the log of the daemon:\n{}",
            server.output()
        );
        server.stop()
    }

    fn obtain_and_renew(&self, server: &Server) -> Result<()> {
        let configuration = format!(
            r#"{{"listeners": {{"*:80": {{"pass": "routes"}}}}, "routes": [{{"action": {{"share": "{}$uri"}}}}]}}"#,
            self.path("www").display()
        );
        server.configure("/config/", &configuration)?;
        let routes = server.status("/config/routes")?;
        self.certbot(&[
            "run",
            "--server=https://127.0.0.1:14000/dir",
            "--agree-tos",
            "--register-unsafely-without-email",
            "--authenticator=nginx-unit",
            "--installer=nginx-unit",
            &format!("--nginx-unit-path={}", self.path("challenges").display()),
            "--domain",
            HOST,
        ])?;
        let bundle = self.only_bundle(server)?;

        let load = self.start_load()?;
        self.certbot(&["renew", "--force-renewal", "--no-random-sleep-on-renew"])?;
        load.end()?;
        ensure!(
            self.only_bundle(server)? != bundle,
            "{bundle} has not been replaced"
        );
        ensure!(
            server.status("/config/routes")? == routes,
            "the plugin has left its route behind: {}",
            server.status("/config/routes")?
        );
        Ok(())
    }

    /// Pebble, and the name server for which all names are this machine's.
    fn start_authority(&self) -> Result<[BackgroundProcess; 2]> {
        let file = |name: &str| self.path(name).display().to_string();
        let settings = format!(
            r#"{{"pebble": {{"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
            "certificate": {:?}, "privateKey": {:?}, "httpPort": 80, "tlsPort": 443}}}}"#,
            file("api.pem"),
            file("api.key")
        );
        fs::write(self.path("pebble.json"), settings)?;
        let mut names = self.program("pebble-challtestsrv");
        names.args(["-dns01", "127.0.0.1:8053", "-defaultIPv4", "127.0.0.1"]);
        names.args(["-defaultIPv6", "", "-http01", "", "-https01", ""]);
        names.args(["-tlsalpn01", "", "-management", "127.0.0.1:8055"]);
        let mut pebble = self.program("pebble");
        pebble.args(["-dnsserver", "127.0.0.1:8053", "-config"]);
        pebble.arg(self.path("pebble.json"));
        // It checks the challenge at once, each time again, and sends no errors by chance.
        pebble
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env("PEBBLE_WFE_NONCEREJECT", "0");
        let log = File::create(self.path("pebble.log"))?;
        Ok([
            BackgroundProcess::start(&mut names, log.try_clone()?)?,
            BackgroundProcess::start(&mut pebble, log)?,
        ])
    }

    /// The daemon, with the state that the last one kept.
    fn serve(&self) -> Result<Server> {
        forget_servers()?;
        let last = thread::available_parallelism()?.get() - 1;
        let state = self.path("state");
        Server::start(
            &self.path("bin/unitd"),
            &format!("0-{last}"),
            |command, _, folder| {
                command.arg("--no-daemon").arg("--control");
                command.arg(format!("unix:{}", folder.join("control.sock").display()));
                command.arg("--statedir").arg(state);
            },
        )
    }

    fn certbot(&self, arguments: &[&str]) -> Result<()> {
        let mut certbot = self.program("certbot");
        certbot.args(arguments).arg("--non-interactive");
        for (flag, name) in [
            ("--config-dir", "certbot"),
            ("--work-dir", "work"),
            ("--logs-dir", "logs"),
        ] {
            certbot.arg(flag).arg(self.path(name));
        }
        certbot.env("REQUESTS_CA_BUNDLE", self.path("api.pem"));
        // Without it, it would wait for one: Unit's tool reads it.
        let ended = certbot.stdin(Stdio::null()).output()?;
        ensure!(
            ended.status.success(),
            "certbot {} failed: {}\n{}{}",
            arguments[0],
            ended.status,
            String::from_utf8_lossy(&ended.stdout),
            String::from_utf8_lossy(&ended.stderr)
        );
        Ok(())
    }

    /// The bundle of certificates that the server has and the listener names, if it is the only one.
    fn only_bundle(&self, server: &Server) -> Result<String> {
        let name = Regex::new(&format!(r"{}_[0-9]{{14}}", HOST.replace('.', r"\.")))?;
        let names = |path: &str| -> Result<BTreeSet<String>> {
            let text = server.status(path)?;
            let found = name.find_iter(&text);
            Ok(found.map(|found| found.as_str().to_owned()).collect())
        };
        let named = names("/config/listeners/*:443/tls/certificate")?;
        let bundles = names("/certificates/")?;
        let files = fs::read_dir(self.path("state/certs"))?.count();
        ensure!(
            bundles.len() == 1 && named == bundles && files == 1,
            "not one bundle: {bundles:?}, {files} files of them; the listener has {named:?}"
        );
        bundles.into_iter().next().context("no bundle")
    }

    fn start_load(&self) -> Result<LoadClient> {
        let mut client = Command::new("python3");
        client.args(["-c", CLIENT, "load"]).arg(&self.folder);
        client.arg(HOST).stdin(Stdio::piped());
        let mut client = client.stdout(Stdio::piped()).spawn()?;
        let output = client.stdout.take().context("no output of the client")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let load = LoadClient { client, output };
        if line.trim() != "begun" {
            load.end()?;
            bail!("the client has not begun: {line}");
        }
        Ok(load)
    }

    /// What a command of the client prints.
    fn client(&self, arguments: &[&str]) -> Result<String> {
        let [command, others @ ..] = arguments else {
            return Ok(String::new());
        };
        let mut client = Command::new("python3");
        client.args(["-c", CLIENT, command]).arg(&self.folder);
        output(client.args(others))
    }

    /// One of `bin`, where each finds the others first.
    fn program(&self, name: &str) -> Command {
        let mut program = Command::new(self.path("bin").join(name));
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::split_paths(&path);
        let path = env::join_paths([self.path("bin")].into_iter().chain(path));
        // Without it the program says what is missing.
        program.env("PATH", path.unwrap_or_default());
        program
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Removes what `unitc` has kept about servers by the number of their process: here, numbers begin with 1 each time.
fn forget_servers() -> Result<()> {
    for entry in fs::read_dir("/tmp").context("/tmp")? {
        let file = entry?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("unitc.") && name.ends_with(".env") {
            fs::remove_file(file.path()).with_context(|| file.path().display().to_string())?;
        }
    }
    Ok(())
}

/// A program that runs until this is dropped.
struct BackgroundProcess(Child);

impl BackgroundProcess {
    fn start(command: &mut Command, log: File) -> Result<Self> {
        let command = command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn();
        child
            .map(Self)
            .with_context(|| format!("cannot start {command:?}"))
    }
}

impl Drop for BackgroundProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client that makes requests all the time.
struct LoadClient {
    client: Child,
    output: BufReader<ChildStdout>,
}

impl LoadClient {
    /// Has the client finish, and fails if one of its requests has.
    fn end(mut self) -> Result<()> {
        drop(self.client.stdin.take());
        let mut said = String::new();
        self.output.read_to_string(&mut said)?;
        println!("xtask: certbot: {}", said.trim());
        let status = self.client.wait()?;
        ensure!(status.success(), "requests during the renewal: {status}");
        Ok(())
    }
}
