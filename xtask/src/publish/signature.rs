//! Signatures of releases, by `ssh-keygen -Y`.
//!
//! Not by gpg or minisign: OpenSSH is on nearly every machine, of those who sign and of those who verify; keys may
//! be in an agent or on a hardware token; and the file of allowed signers is all the trust there is to set up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::command::run;

/// Who signs, by the name in `release-signers`.
pub(super) const IDENTITY: &str = "releases";

/// What a signature is for. No signature that its key makes for something else passes as one of a release.
pub(super) const NAMESPACE: &str = "wasmtime-unitd-release";

/// A key that may sign releases.
#[derive(Debug)]
pub(super) struct SigningKey {
    file: PathBuf,
}

impl SigningKey {
    /// Finds a key by its private file, or by its public one if an agent has the private half, and makes sure that
    /// the file of signers has it.
    ///
    /// # Errors
    ///
    /// When a file is missing, or the key is not that of a signer.
    pub(super) fn find(file: &Path, signers: &Path) -> Result<Self> {
        if !file.is_file() {
            bail!("there is no key {}", file.display());
        }
        let public = if file.extension().is_some_and(|extension| extension == "pub") {
            file.to_owned()
        } else {
            let mut name = file.as_os_str().to_owned();
            name.push(".pub");
            name.into()
        };
        let read = |path: &Path| {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        if !has_key(&read(signers)?, &read(&public)?) {
            bail!(
                "{} is not in {}; add and commit a line `{IDENTITY} namespaces=\"{NAMESPACE}\" KEY`, where KEY \
                 is what that file has",
                public.display(),
                signers.display()
            );
        }
        let file = file.to_owned();
        Ok(Self { file })
    }

    /// Writes the signature of a file beside it, as `.sig`, and verifies it as users will.
    ///
    /// # Errors
    ///
    /// When `ssh-keygen` is missing, or the key does not sign, or the signature is not valid.
    pub(super) fn sign(&self, file: &Path, signers: &Path) -> Result<()> {
        let mut signature = file.as_os_str().to_owned();
        signature.push(".sig");
        let signature = PathBuf::from(signature);
        if signature.exists() {
            fs::remove_file(&signature).with_context(|| signature.display().to_string())?;
        }
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-Y", "sign", "-n", NAMESPACE, "-f"])
            .arg(&self.file);
        run(sign.arg(file))?;
        verify(file, &signature, signers)
    }
}

/// Verifies a signature as users do.
fn verify(file: &Path, signature: &Path, signers: &Path) -> Result<()> {
    let mut verify = Command::new("ssh-keygen");
    verify.args(["-Y", "verify", "-n", NAMESPACE, "-I", IDENTITY]);
    verify.arg("-f").arg(signers).arg("-s").arg(signature);
    let signed = fs::File::open(file).with_context(|| file.display().to_string())?;
    run(verify.stdin(Stdio::from(signed)))
}

/// Whether a file of allowed signers has this public key for releases.
fn has_key(signers: &str, public: &str) -> bool {
    let mut words = public.split_whitespace().skip(1);
    let Some(key) = words.next() else {
        return false;
    };
    signers.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(IDENTITY) && words.any(|word| word == key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_only_on_a_line_of_the_signers_of_releases() {
        let public = "ssh-ed25519 AAAAkey comment\n";
        assert!(has_key("# who\nreleases ssh-ed25519 AAAAkey\n", public));
        let line = "releases namespaces=\"a\" ssh-ed25519 AAAAkey comment";
        assert!(has_key(line, public));
        assert!(!has_key("# releases ssh-ed25519 AAAAkey", public));
        assert!(!has_key("others ssh-ed25519 AAAAkey", public));
        assert!(!has_key("releases ssh-ed25519 AAAAkeys", public));
        assert!(!has_key("releases ssh-ed25519 AAAAkey", ""));
    }

    #[test]
    fn a_file_is_signed_by_a_listed_key_alone_and_a_changed_file_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (key, signers, sums) = (path("key"), path("signers"), path("SUMS"));
        let mut keygen = Command::new("ssh-keygen");
        keygen
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key);
        // It also fails for a user that the machine does not know.
        if !keygen.status().is_ok_and(|status| status.success()) {
            println!("skipped: no key from ssh-keygen on this machine");
            return;
        }
        fs::write(&sums, "0123  a.tar.gz\n").unwrap();

        fs::write(&signers, "# none yet\n").unwrap();
        let error = SigningKey::find(&key, &signers).unwrap_err().to_string();
        assert!(error.contains("key.pub is not in"), "{error}");
        assert!(SigningKey::find(&path("other"), &signers).is_err());

        let public = fs::read_to_string(path("key.pub")).unwrap();
        let line = format!("{IDENTITY} namespaces=\"{NAMESPACE}\" {public}");
        fs::write(&signers, line).unwrap();
        let found = SigningKey::find(&key, &signers).unwrap();
        found.sign(&sums, &signers).unwrap();
        // What is there from before is replaced, without a question at the terminal.
        found.sign(&sums, &signers).unwrap();

        fs::write(&sums, "4567  a.tar.gz\n").unwrap();
        assert!(verify(&sums, &path("SUMS.sig"), &signers).is_err());
    }
}
