//! unitd with the module, for the tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use nix::unistd::{Group, User, getgid, getuid};
use test_suite::{FrontEnd, Need, Options, Running, processes};

/// The unitd of a built tree, with the modules of this build.
#[derive(Clone, Copy)]
pub(crate) struct Unitd;

impl Unitd {
    /// unitd, if it is on this machine. If not, says so.
    pub(crate) fn here() -> Option<Self> {
        test_suite::is_here(&Self).then_some(Self)
    }
}

struct Place {
    unitd: PathBuf,
    modules: PathBuf,
}

/// Where they are, or why they are not there.
static PLACE: LazyLock<Result<Place, String>> = LazyLock::new(|| {
    let modules = env::var_os("UNIT_MODULES").map(PathBuf::from);
    Ok(Place {
        unitd: find_unitd()?,
        modules: modules.ok_or(
            "UNIT_MODULES does not name a folder with the module; `cargo xtask test` makes one",
        )?,
    })
});

fn find_unitd() -> Result<PathBuf, String> {
    // `cargo xtask test` looks for a tree and names it here.
    let tree = env::var_os("UNIT_SRC").ok_or("UNIT_SRC does not name a built tree of Unit")?;
    let unitd = Path::new(&tree).join("build/sbin/unitd");
    if !unitd.is_file() {
        return Err(format!("there is no {}", unitd.display()));
    }
    Ok(unitd)
}

impl FrontEnd for Unitd {
    fn command(&self, directory: &Path) -> Command {
        let place = PLACE.as_ref().unwrap();
        let mut command = Command::new(&place.unitd);
        command
            .arg("--no-daemon")
            .arg("--control")
            .arg(format!("unix:{}", directory.join("control.sock").display()))
            .arg("--log")
            .arg(directory.join("unit.log"))
            .arg("--pid")
            .arg(directory.join("unit.pid"))
            .arg("--statedir")
            .arg(directory)
            .arg("--tmpdir")
            .arg(directory)
            .arg("--modulesdir")
            .arg(&place.modules);
        if getuid().is_root() {
            // By default its processes run as an unprivileged user, who cannot read the test's files.
            let user = User::from_uid(getuid()).unwrap().unwrap();
            let group = Group::from_gid(getgid()).unwrap().unwrap();
            command.arg("--user").arg(user.name);
            command.arg("--group").arg(group.name);
        }
        command
    }

    fn lacks(&self, need: Need) -> Option<&'static str> {
        match need {
            Need::Http2 => Some("unitd speaks no HTTP/2"),
            Need::StreamedRequests => {
                Some("unitd reads the whole request before an application sees it")
            }
            Need::Cancellation => Some("unitd does not tell applications when a client leaves"),
            Need::Trailers => Some("unitd passes no trailers on"),
            Need::Continue => Some("unitd sends no 100 Continue"),
            Need::AnyRequest => {
                Some("unitd refuses methods in lower case and targets that are absolute")
            }
            Need::AnyChunk => Some("not every unitd knows extensions of chunks"),
            Need::HeadWithoutLength => {
                Some("unitd sends a last chunk after the head of a response without length")
            }
            Need::ExactCutOffs => Some(
                "unitd drops what it has not sent of a response that fails, its head included, and \
                 ends HTTP/1.0 in order",
            ),
            Need::CountedInstances => Some("unitd's /status counts requests"),
            Need::ShortQueue => {
                Some("what waits does so in unitd's queue, for as long as unitd lets it")
            }
            Need::Wasi03 => Some(test_suite::NO_WASI_03),
            Need::Wasi02 => None,
        }
    }

    fn missing(&self) -> Option<&str> {
        PLACE.as_ref().err().map(String::as_str)
    }

    fn options(&self, options: &Options<'_>) -> String {
        // Unit's own `limits.timeout` makes unitd answer 503.
        options.environment()
    }

    fn settings(&self) -> &'static str {
        // Both are off, or small, unless they are named.
        r#""settings": {"http": {"max_body_size": 2000000000, "chunked_transform": true}},"#
    }
}

/// The processes of an application, without its prototype.
pub(crate) fn application(server: &Running, name: &str) -> Vec<u32> {
    let title = format!("unit: \"{name}\" application");
    let mut pids = server.pids();
    pids.retain(|pid| processes::name(*pid).starts_with(&title));
    pids
}

/// The one process of an application.
#[track_caller]
pub(crate) fn only_process(server: &Running, name: &str) -> u32 {
    match application(server, name)[..] {
        [pid] => pid,
        ref pids => panic!("the processes of {name:?} are {pids:?}"),
    }
}

/// Checks that Unit's log has nothing of the kind that a person must look at.
#[track_caller]
pub(crate) fn assert_no_alert(server: &Running) {
    let mut alerts = server.log_lines("[alert]");
    alerts.extend(server.log_lines("[emerg]"));
    // unitd's processes end in no order, and when one tells another that has gone, it says so.
    alerts.retain(|line| !(line.contains(" sendmsg(") && is_gone(line)));
    assert!(alerts.is_empty(), "{alerts:#?}");
}

fn is_gone(line: &str) -> bool {
    line.contains("Broken pipe") || line.contains("Connection reset by peer")
}
