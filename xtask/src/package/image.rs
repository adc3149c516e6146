//! The container image of the static daemon, by buildah. The same program and commit give the same digest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::target::Architecture;
use super::{folders, licenses, static_binary};
use crate::checkout::Checkout;
use crate::command::{has_program, output, root, run};
use crate::containers::ContainerTools;

/// The version of all packages of this repository, this one included.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why there is no image.
const NO_TOOL: &str = "no buildah on this machine (on Debian: apt-get install buildah)";

/// Builds the daemon and its image, and says where the archive of that is.
///
/// # Errors
///
/// When buildah is missing, a step fails, or the image does not run where it can be tried.
pub(super) fn package(architecture: Architecture, profile: &str) -> Result<PathBuf> {
    ensure!(has_program("buildah"), NO_TOOL);
    let program = static_binary::build(architecture, profile)?;
    let folder = folders::packages("image");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let name = format!(
        "wasmtime-unitd-{VERSION}-{}.oci.tar",
        architecture.of_images()
    );
    let archive = folder.join(name);

    let store = Store::new()?;
    let checkout = Checkout::read("")?;
    let licenses = licenses::write("wasmtime-unitd", architecture.triple())?;
    store.build(&program, &licenses, architecture, &checkout)?;
    let digest = store.save(&archive)?;
    println!("xtask: {}: {digest}", archive.display());
    if has_program("podman") && Architecture::host().is_ok_and(|host| host == architecture) {
        let said = store.run(&["--version"])?;
        ensure!(
            said.trim() == format!("wasmtime-unitd {VERSION}"),
            "the daemon in the image calls itself {said:?}"
        );
    } else {
        println!("xtask: not run: the image: no podman on this machine, or another processor");
    }
    Ok(archive)
}

/// Makes sure that images are reproducible and as they should be, with another program in place of the daemon, which
/// takes minutes to build. Gives what was left out.
///
/// # Errors
///
/// When an image cannot be made, or is not as it should be.
pub(super) fn test() -> Result<Option<String>> {
    if !has_program("buildah") {
        return Ok(Some(format!("the test of the container image: {NO_TOOL}")));
    }
    println!("\nxtask: container image");
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("program");
    let licenses = folder.path().join("licenses");
    fs::write(&licenses, "Permission")?;
    let checkout = Checkout {
        commit: "0123456789abcdef".to_owned(),
        time: 1_000_000_000,
        ..Checkout::default()
    };
    let build = |content: &str, architecture| -> Result<String> {
        // Written again, so that its time is another one.
        fs::write(&program, content)?;
        let store = Store::new()?;
        store.build(&program, &licenses, architecture, &checkout)?;
        let digest = store.save(&folder.path().join("image.tar"))?;
        let config = store.inspect()?;
        for expected in [
            "user=65532:65532",
            "entrypoint=[/wasmtime-unitd]",
            "org.opencontainers.image.revision:0123456789abcdef",
            "org.opencontainers.image.created:2001-09-09T01:46:40Z",
        ] {
            ensure!(config.contains(expected), "no {expected} in {config}");
        }
        Ok(digest)
    };
    let first = build("a", Architecture::X86_64)?;
    ensure!(
        build("a", Architecture::X86_64)? == first,
        "the image of the same program has another digest"
    );
    for other in [
        build("b", Architecture::X86_64)?,
        build("a", Architecture::Aarch64)?,
    ] {
        ensure!(
            other != first,
            "an image of another program has this digest"
        );
    }
    println!("xtask: container image: passed");
    Ok(None)
}

/// Images apart from those of the user, which are removed with it.
struct Store {
    folder: tempfile::TempDir,
    tools: ContainerTools,
}

impl Store {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let tools = ContainerTools::new(folder.path())?;
        Ok(Self { folder, tools })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Builds the image of a program.
    fn build(
        &self,
        program: &Path,
        licenses: &Path,
        architecture: Architecture,
        checkout: &Checkout,
    ) -> Result<()> {
        let files = self.path("files");
        fs::create_dir_all(files.join("empty"))?;
        fs::copy(program, files.join("wasmtime-unitd"))
            .with_context(|| program.display().to_string())?;
        for (from, name) in [
            (licenses, licenses::FILE),
            (&root().join("LICENSE"), "LICENSE"),
        ] {
            fs::copy(from, files.join(name)).with_context(|| from.display().to_string())?;
        }
        let mut build = self.tools.command("buildah");
        // Without layers of its own cache, and what names the version of the tool.
        build.args(["build", "--layers=false", "--identity-label=false"]);
        build.args(["--format", "oci", "--isolation", "chroot", "--quiet"]);
        build.arg(format!("--platform=linux/{}", architecture.of_images()));
        build.arg(format!("--timestamp={}", checkout.time));
        for (name, value) in labels(checkout)? {
            build.arg(format!("--label=org.opencontainers.image.{name}={value}"));
        }
        build.arg("--file");
        build.arg(root().join("packaging/container/Containerfile"));
        run(build.args(["--tag", &tag()]).arg(files))
    }

    /// Writes the image as an archive, and gives its digest.
    fn save(&self, archive: &Path) -> Result<String> {
        if archive.exists() {
            fs::remove_file(archive).with_context(|| archive.display().to_string())?;
        }
        let digest = self.path("digest");
        let mut push = self.tools.command("buildah");
        push.args(["push", "--quiet", "--digestfile"]).arg(&digest);
        push.arg(tag());
        run(push.arg(format!("oci-archive:{}:{}", archive.display(), tag())))?;
        fs::read_to_string(&digest).context("the digest of the image")
    }

    /// How the image is run, as text.
    fn inspect(&self) -> Result<String> {
        let format = "user={{.OCIv1.Config.User}} entrypoint={{.OCIv1.Config.Entrypoint}} \
                      labels={{.OCIv1.Config.Labels}}";
        let mut inspect = self.tools.command("buildah");
        inspect.args(["inspect", "--type", "image", "--format", format]);
        output(inspect.arg(tag()))
    }

    /// Runs the image as it should be run where it is not trusted: read-only, without capabilities and network.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut podman = self.tools.command("podman");
        podman.args(["run", "--rm", "--read-only", "--cap-drop=all"]);
        podman.args(["--network=none", "--memory=256m"]);
        output(podman.arg(tag()).args(arguments))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Of users other than root, only buildah may remove the files of images.
        let remove = self
            .tools
            .command("buildah")
            .args(["rmi", "--all", "--force"])
            .output();
        if let Err(error) = remove {
            println!(
                "xtask: not removed: images in {}: {error}",
                self.folder.path().display()
            );
        }
    }
}

fn tag() -> String {
    format!("localhost/wasmtime-unitd:{VERSION}")
}

/// Labels by the names that OCI has for them.
fn labels(checkout: &Checkout) -> Result<[(&'static str, String); 6]> {
    let revision = if checkout.changes.is_empty() {
        checkout.commit.clone()
    } else {
        format!("{}-dirty", checkout.commit)
    };
    Ok([
        ("title", "wasmtime-unitd".to_owned()),
        (
            "description",
            "HTTP server for WebAssembly components".to_owned(),
        ),
        ("version", VERSION.to_owned()),
        ("revision", revision),
        ("licenses", "Apache-2.0".to_owned()),
        ("created", rfc_3339(checkout.time)?),
    ])
}

/// A time in seconds since 1970 as images write it.
fn rfc_3339(time: u64) -> Result<String> {
    let mut date = Command::new("date");
    date.args([
        "--utc",
        "--date",
        &format!("@{time}"),
        "+%Y-%m-%dT%H:%M:%SZ",
    ]);
    Ok(output(&mut date)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_checkout_is_not_labelled_as_its_commit() {
        let mut checkout = Checkout {
            commit: "01ab".to_owned(),
            ..Checkout::default()
        };
        let revision = |checkout: &Checkout| labels(checkout).unwrap()[3].1.clone();
        assert_eq!(revision(&checkout), "01ab");
        checkout.changes.push(" M a".to_owned());
        assert_eq!(revision(&checkout), "01ab-dirty");
    }
}
