//! The entry point for fuzzing. Exists in test and fuzzing builds only.

#[cfg(test)]
mod mutations;

use std::path::{Component, Path};
use std::sync::Arc;

use crate::bundle::certificate;
use crate::{Bundle, Certificates, ServerTls, TicketKey, TlsOptions, check_name};

/// Parses `data` as a bundle, as a certificate in DER, as a name, and as a ticket key.
///
/// # Panics
///
/// If a result is inconsistent, which is a bug.
pub fn fuzz_bundle(data: &[u8]) {
    match Bundle::parse(data) {
        Ok(bundle) => check(data, bundle),
        Err(error) => {
            let message = error.to_string();
            assert!(
                message.len() < 2_000,
                "a message repeats all of a long value"
            );
            assert!(
                !message.contains(char::is_control),
                "{message:?} is not escaped"
            );
        }
    }
    if let Ok(parsed) = certificate::parse(data) {
        let _ = parsed.certificate.validity.since.to_string();
        assert!(
            parsed
                .certificate
                .subject
                .common_name
                .is_none_or(|name| name.len() <= 255)
        );
    }

    let text = String::from_utf8_lossy(data);
    if check_name(&text).is_ok() {
        let components: Vec<_> = Path::new(text.as_ref()).components().collect();
        assert!(
            matches!(components[..], [Component::Normal(name)] if name == text.as_ref()),
            "{text:?} is more than a file name"
        );
    }
    if let Ok(key) = TicketKey::parse(&text) {
        assert!(
            matches!(key.secret.len(), 32 | 64),
            "a key of {} bytes",
            key.secret.len()
        );
    }
}

fn check(text: &[u8], bundle: Bundle) {
    let again = Bundle::parse(text).ok();
    let again = again.as_ref().map(|again| (again.key(), again.chain()));
    assert_eq!(
        again,
        Some((bundle.key(), bundle.chain())),
        "a second parse differs"
    );
    assert_eq!(
        bundle.chain().len(),
        bundle.certified().cert.len(),
        "a certificate is missing"
    );
    for certificate in bundle.chain() {
        let date = certificate.validity.until.to_string();
        assert!(date.ends_with(" GMT"), "{date} is not a date");
    }

    let names = ["a", "b"];
    let bundle = Arc::new(bundle);
    let certificates = names.map(|name| (name.to_owned(), Arc::clone(&bundle)));
    let certificates: Certificates = certificates.into_iter().collect();
    let server = ServerTls::new(TlsOptions::new(names), &certificates);
    for warning in server.map_or_else(|_| Vec::new(), |server| server.warnings()) {
        let message = warning.to_string();
        assert!(
            !message.contains(char::is_control),
            "{message:?} is not escaped"
        );
    }
}
