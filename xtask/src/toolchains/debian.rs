//! Programs of Debian that this machine may lack: their packages are unpacked below `toolchains/` of the target
//! folder, without root's rights, and without a change of the system.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result};

use super::place::{Failure, Place, Step};
use crate::command::has_program;

/// Where programs are, also those that only root has in its `PATH`.
const FOLDERS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// What a shell and the loader of programs end with when they cannot start one.
const NOT_STARTED: i32 = 127;

/// A program, and the package that has it.
pub(crate) struct DebianProgram {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    /// The flag with which it prints its version or its usage, and ends.
    pub(crate) version_flag: &'static str,
}

/// A program that runs here.
#[derive(Debug)]
pub(crate) struct InstalledProgram {
    path: PathBuf,
    /// Folders of libraries that the machine lacks, as `LD_LIBRARY_PATH` has them; empty for the machine's own program.
    libraries: OsString,
}

impl InstalledProgram {
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if !self.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", &self.libraries);
        }
        command
    }
}

impl DebianProgram {
    /// The program: the machine's own, or else one of the machine's release of Debian below the target folder, which
    /// is installed if it is not there.
    ///
    /// # Errors
    ///
    /// When the machine has none, and it cannot be installed, for whatever reason.
    pub(crate) fn find(&self) -> Step<InstalledProgram> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path);
        let folders = folders.chain(FOLDERS.map(|folder| Path::new("/").join(folder)));
        if let Some(own) = self.first(folders, &OsString::new()) {
            return Ok(own);
        }
        let apt = Apt {
            place: Place::new("apt")?,
            settings: String::new(),
        };
        self.installed(&apt, &Place::new(self.name)?)
            .map_err(|failure| {
                let reason = match failure {
                    Failure::NotHere(reason) => reason,
                    // What it is needed for is skipped then.
                    Failure::Broken(error) => summary(&format!("{error:#}")),
                };
                Failure::NotHere(format!(
                    "no {} on this machine (on Debian: apt-get install {}), and it cannot be installed: {reason}",
                    self.name, self.package
                ))
            })
    }

    /// The program of the package, unpacked in this place.
    fn installed(&self, apt: &Apt, place: &Place) -> Step<InstalledProgram> {
        // Programs of another release may need other libraries.
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let stamp = format!("{}\n{release}", self.package);
        let root = place.folder.join("root");
        place.once("installed", &stamp, || {
            apt.unpack(self.package, &root, place)
        })?;
        let folders = FOLDERS.map(|folder| root.join(folder));
        let found = self.first(folders.into_iter(), &libraries(&root)?);
        found.ok_or_else(|| {
            let reason = format!("the package {} has no program that starts", self.package);
            Failure::NotHere(reason)
        })
    }

    /// The first of these folders' programs that runs.
    fn first(
        &self,
        folders: impl Iterator<Item = PathBuf>,
        libraries: &OsStr,
    ) -> Option<InstalledProgram> {
        folders
            .map(|folder| InstalledProgram {
                path: folder.join(self.name),
                libraries: libraries.to_owned(),
            })
            .find(|program| {
                let mut version = program.command();
                let output = version.arg(self.version_flag).stdin(Stdio::null()).output();
                output.is_ok_and(|output| is_started(&output))
            })
    }
}

/// Whether the program has run. (Some end with an error after they have printed their usage.)
fn is_started(output: &Output) -> bool {
    let code = output.status.code();
    code.is_some_and(|code| code != NOT_STARTED)
}

/// apt with lists of packages of its own.
struct Apt {
    place: Place,
    /// More of its configuration.
    settings: String,
}

impl Apt {
    /// Unpacks a package, and those of its dependencies that the machine lacks.
    fn unpack(&self, package: &str, root: &Path, place: &Place) -> Step {
        if !has_program("apt-get") || !has_program("dpkg-deb") {
            return Err(Failure::NotHere("this machine is not a Debian".to_owned()));
        }
        let archives = place.folder.join("archives");
        for folder in [&archives, root] {
            if folder.exists() {
                fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
            }
        }
        create(&archives.join("partial"))?;
        create(root)?;
        let config = self.write_config(&archives)?;
        let apt = || {
            let mut apt = Command::new("apt-get");
            // Its messages are searched for reasons.
            apt.env("LC_ALL", "C").arg("--config-file").arg(&config);
            apt
        };
        place.install("fetching lists of packages", apt().arg("update"))?;
        let mut download = apt();
        // Again even if the machine has the package, whose program does not run then.
        download.args(["install", "--yes", "--download-only", "--reinstall"]);
        place.install(&format!("fetching {package}"), download.arg(package))?;
        for entry in fs::read_dir(&archives).with_context(|| archives.display().to_string())? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                let mut unpack = Command::new("dpkg-deb");
                place.install("unpacking", unpack.arg("--extract").arg(file).arg(root))?;
            }
        }
        fs::remove_dir_all(&archives).with_context(|| archives.display().to_string())?;
        Ok(())
    }

    /// Writes what is set besides the configuration of the machine, such as its proxies.
    fn write_config(&self, archives: &Path) -> Result<PathBuf> {
        let folder = &self.place.folder;
        let (lists, cache) = (folder.join("lists"), folder.join("cache"));
        create(&lists.join("partial"))?;
        create(&cache)?;
        let text = format!(
            "// What other programs have apt do to the system.\n\
             #clear APT::Update::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n\
             #clear DPkg::Pre-Invoke;\n\
             #clear DPkg::Post-Invoke;\n\
             #clear DPkg::Pre-Install-Pkgs;\n\
             Dir::State::Lists {lists:?};\n\
             Dir::Cache {cache:?};\n\
             Dir::Cache::Archives {archives:?};\n\
             // No other program uses these folders.\n\
             Debug::NoLocking \"true\";\n\
             APT::Sandbox::User \"\";\n\
             APT::Update::Error-Mode \"any\";\n\
             APT::Install-Recommends \"false\";\n\
             APT::Keep-Downloaded-Packages \"true\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"1\";\n\
             Acquire::http::Timeout \"20\";\n\
             {}",
            self.settings
        );
        let config = folder.join("apt.conf");
        fs::write(&config, text).with_context(|| config.display().to_string())?;
        Ok(config)
    }
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

/// The folders of libraries below a root folder, as `LD_LIBRARY_PATH` has them.
fn libraries(root: &Path) -> Result<OsString> {
    let mut folders = Vec::new();
    for folder in [root.join("usr/lib"), root.join("lib")] {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            // Such as x86_64-linux-gnu.
            if path.is_dir() && path.to_string_lossy().contains("-linux-") {
                folders.push(path);
            }
        }
        folders.push(folder);
    }
    std::env::join_paths(folders).context("a folder of libraries has a colon in its name")
}

/// The line of apt's messages that says why it fails.
fn summary(message: &str) -> String {
    let begins = |beginning: &str| message.lines().find(|line| line.starts_with(beginning));
    let line = begins("E: ").or_else(|| begins("W: "));
    let line = line.or_else(|| message.lines().next());
    line.unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{output, run};

    /// A program that starts only if it finds its library, which another package has.
    const SCRIPT: &str = "#!/bin/sh\nIFS=:\nfor folder in $LD_LIBRARY_PATH; do\n  \
                          test -f $folder/libthing.so && exit 1\ndone\nexit 127\n";

    const THING: DebianProgram = DebianProgram {
        name: "thing",
        package: "thing-package",
        version_flag: "-v",
    };

    /// A repository with two packages. Gives the lines of its list of packages.
    fn repository(folder: &Path) -> String {
        let packages = [
            ("thing-package", "Depends: libthing\n", "usr/sbin/thing"),
            ("libthing", "", "usr/lib/x86_64-linux-gnu/libthing.so"),
        ];
        let mut list = String::new();
        for (name, depends, path) in packages {
            let files = folder.join(name);
            let file = files.join(path);
            create(file.parent().unwrap()).unwrap();
            fs::write(&file, SCRIPT).unwrap();
            run(Command::new("chmod").arg("755").arg(&file)).unwrap();
            create(&files.join("DEBIAN")).unwrap();
            let control = format!(
                "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.invalid>\n\
                 {depends}Description: a test\n"
            );
            fs::write(files.join("DEBIAN/control"), &control).unwrap();
            let archive = folder.join(format!("{name}_1_all.deb"));
            let mut build = Command::new("dpkg-deb");
            build.args(["--root-owner-group", "--build"]).arg(&files);
            output(build.arg(&archive)).unwrap();
            let size = fs::metadata(&archive).unwrap().len();
            let sum = output(Command::new("sha256sum").arg(&archive)).unwrap();
            let sum = sum.split(' ').next().unwrap();
            list.push_str(&format!(
                "{control}Filename: ./{name}_1_all.deb\nSize: {size}\nSHA256: {sum}\n\n"
            ));
        }
        list
    }

    #[test]
    fn the_machines_own_program_is_taken() {
        let shell = DebianProgram {
            name: "sh",
            package: "none",
            version_flag: "-c",
        };
        let Ok(found) = shell.find() else {
            panic!("no shell is found");
        };
        assert!(
            found.path.is_absolute() && found.libraries.is_empty(),
            "{found:?}"
        );
    }

    #[test]
    fn a_package_is_unpacked_with_the_library_that_it_depends_on() {
        if !has_program("apt-get") || !has_program("dpkg-deb") {
            println!("skipped: this machine is not a Debian");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("Packages"), repository(folder.path())).unwrap();
        let source = format!("deb [trusted=yes] copy:{} ./\n", folder.path().display());
        fs::write(path("sources.list"), source).unwrap();
        // A machine that has no package.
        fs::write(path("status"), "").unwrap();
        let place = |name| {
            let folder = path("toolchains").join(name);
            create(&folder).unwrap();
            Place { name, folder }
        };
        let apt = Apt {
            place: place("apt"),
            settings: format!(
                "Dir::Etc::SourceList {:?};\nDir::Etc::SourceParts \"/dev/null\";\n\
                 Dir::State::Status {:?};\n",
                path("sources.list"),
                path("status")
            ),
        };
        let missing = DebianProgram {
            package: "missing-package",
            ..THING
        };
        let Err(Failure::Broken(error)) = missing.installed(&apt, &place("missing")) else {
            panic!("a package that the repository does not have is installed");
        };
        let reason = summary(&format!("{error:#}"));
        let expected = "E: Unable to locate package missing-package";
        assert_eq!(reason, expected, "{error:#}");

        let install = || THING.installed(&apt, &place("thing"));
        for _ in 0..2 {
            let program = match install() {
                Ok(program) => program,
                Err(Failure::NotHere(reason)) => panic!("{reason}"),
                Err(Failure::Broken(error)) => panic!("{error:#}"),
            };
            let output = program.command().output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            // The second time without the repository.
            fs::remove_file(path("Packages")).ok();
        }
        fs::remove_dir_all(place("thing").folder.join("root/usr/lib")).unwrap();
        assert!(matches!(install(), Err(Failure::NotHere(_))));
    }
}
