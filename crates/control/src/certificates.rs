//! `/certificates`: uploads, shows and deletes bundles, which the crate `certificates` parses and stores.

use std::sync::Arc;

use certificates::{Bundle, Certificate, Name, PutError, RemoveError, Written};
use config::{Checked, Config, Object, Value};
use http::header::IF_MATCH;
use http::{HeaderMap, Method};

use crate::answer::{Failure, Outcome, Success};
use crate::body::{Body, RequestBody};
use crate::control::Shared;
use crate::line::Arrival;
use crate::report::report;
use crate::{Control, Origin, Runtime};

/// The methods that a certificate has.
const METHODS: &str = "GET, PUT, DELETE";

impl<R: Runtime> Control<R> {
    /// The value of `GET /certificates`.
    pub(crate) fn certificates(&self) -> Value {
        let certificates = self.source().certificates.snapshot();
        let members = certificates.iter();
        members
            .map(|(name, bundle)| (name, bundle_value(bundle)))
            .collect()
    }

    /// Answers a request for `/certificates` or anything below.
    pub(crate) async fn certificates_request(
        &self,
        method: &Method,
        headers: &HeaderMap,
        segments: &[&str],
        body: RequestBody<'_>,
        arrival: Arrival,
    ) -> Outcome {
        if *method == Method::PUT || *method == Method::DELETE {
            self.require_changeable()?;
        }
        // In Unit's order: the name is checked before the method.
        match segments {
            [] if method == Method::GET => {
                let all = |control: &Self| Ok(Success::value(&control.certificates()));
                self.render(arrival, all).await
            }
            [name, path @ ..] if method == Method::GET => {
                let (name, path) = ((*name).to_owned(), path.iter().copied().collect());
                self.render(arrival, move |control| {
                    let certificates = control.source().certificates.snapshot();
                    let bundle = certificates.get(&name).ok_or(Failure::NoCertificate)?;
                    let value = bundle_value(bundle);
                    value.at(&path).map(Success::value).ok_or(Failure::NoFact)
                })
                .await
            }
            [name] if method == Method::PUT => {
                let replaces = headers.get(IF_MATCH).is_some_and(|value| value == "*");
                let body = body.read().await?;
                self.put_certificate(arrival, (*name).to_owned(), body, replaces)
                    .await
            }
            [name] if method == Method::DELETE => {
                self.delete_certificate(arrival, (*name).to_owned()).await
            }
            [_] => Err(Failure::InvalidMethod { allowed: METHODS }),
            [] | [_, ..] => Err(Failure::CertificateName(None)),
        }
    }

    async fn put_certificate(
        &self,
        arrival: Arrival,
        name: String,
        text: Body,
        replaces: bool,
    ) -> Outcome {
        let (shared, origin) = (Arc::clone(self.shared()), arrival.origin());
        let put = async move { shared.put_certificate(origin, name, text, replaces).await };
        self.in_line(arrival, put).await
    }

    async fn delete_certificate(&self, arrival: Arrival, name: String) -> Outcome {
        let (shared, origin) = (Arc::clone(self.shared()), arrival.origin());
        let delete = async move { shared.delete_certificate(origin, name).await };
        self.in_line(arrival, delete).await
    }
}

impl<R: Runtime> Shared<R> {
    async fn put_certificate(
        self: Arc<Self>,
        origin: Origin,
        name: String,
        text: Body,
        replaces: bool,
    ) -> Outcome {
        let certificates = Arc::clone(self.store()?);
        if replaces && certificates.snapshot().get(&name).is_none() {
            return Err(Failure::NothingToReplace);
        }
        let put = move || {
            let written = if replaces {
                certificates.replace(&name, text.bytes())
            } else {
                certificates.put(&name, text.bytes())
            };
            (name, written)
        };
        let (name, written) = self.threads.run(put).await;
        let mut warnings = Vec::new();
        if let Written::NotSynced(error) = written? {
            warnings.push(format!(
                "the certificate may not survive a power failure: {error}"
            ));
        }
        report!(
            info,
            origin,
            certificate = name.as_str(),
            "certificate stored"
        );
        if config::uses_certificate(&self.current().resolved.tree, &name)
            && let Err(error) = self.apply_again().await
        {
            report!(
                error,
                origin,
                certificate = name.as_str(),
                "certificate stored, but not in use yet: {error}"
            );
            warnings.push(format!("the certificate is not in use yet: {error}"));
        }
        Ok(Success::CertificateStored { warnings })
    }

    /// Applies the current configuration again, with the certificates as they are now.
    async fn apply_again(&self) -> Result<(), Failure> {
        let current = self.current();
        let tree = Arc::clone(&current.resolved.tree);
        let check = move || Config::check(&tree);
        let checked = self.threads.run(check).await;
        let Checked { config, .. } =
            checked.map_err(|error| current.resolved.conceal_invalid(error))?;
        let prepared = self.runtime.prepare(&config).await;
        let prepared = prepared.map_err(|error| current.resolved.conceal_unusable(error))?;
        self.runtime.commit(prepared);
        Ok(())
    }

    async fn delete_certificate(self: Arc<Self>, origin: Origin, name: String) -> Outcome {
        if config::uses_certificate(&self.current().resolved.tree, &name) {
            return Err(Failure::CertificateInUse);
        }
        let certificates = Arc::clone(self.store()?);
        let remove = move || {
            let removed = certificates.remove(&name);
            (name, removed)
        };
        let (name, removed) = self.threads.run(remove).await;
        if let Written::NotSynced(error) = removed? {
            report!(
                warn,
                origin,
                certificate = name.as_str(),
                "certificate deleted, but may be back after a power failure: {error}"
            );
        }
        report!(
            info,
            origin,
            certificate = name.as_str(),
            "certificate deleted"
        );
        Ok(Success::CertificateDeleted)
    }
}

impl From<PutError> for Failure {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Name(error) => Self::CertificateName(Some(error)),
            PutError::Exists => Self::CertificateExists,
            PutError::Bundle(error) => Self::Certificate(error),
            PutError::Io(error) => Self::StoreCertificate(error),
        }
    }
}

impl From<RemoveError> for Failure {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Missing => Self::NoCertificate,
            RemoveError::Io(error) => Self::DeleteCertificate(error),
        }
    }
}

/// A bundle as a value, in Unit's form.
fn bundle_value(bundle: &Bundle) -> Value {
    let chain = bundle.chain().iter().map(certificate_value);
    [
        ("key", bundle.key().to_string().into()),
        ("chain", Value::Array(chain.collect())),
    ]
    .into_iter()
    .collect()
}

fn certificate_value(certificate: &Certificate) -> Value {
    let validity = [
        ("since", certificate.validity.since.to_string().into()),
        ("until", certificate.validity.until.to_string().into()),
    ];
    [
        ("subject", name_value(&certificate.subject)),
        ("issuer", name_value(&certificate.issuer)),
        ("validity", validity.into_iter().collect()),
    ]
    .into_iter()
    .collect()
}

fn name_value(name: &Name) -> Value {
    let text = |value: &Option<String>| value.as_deref().map(Value::from);
    let alt_names = name.alt_names.as_ref().map(|names| {
        let names = names.iter().map(|name| name.as_str().into());
        Value::Array(names.collect())
    });
    let mut object = Object::default();
    for (member, value) in [
        ("common_name", text(&name.common_name)),
        ("alt_names", alt_names),
        ("country", text(&name.country)),
        ("state_or_province", text(&name.state_or_province)),
        ("locality", text(&name.locality)),
        ("organization", text(&name.organization)),
        ("department", text(&name.department)),
    ] {
        if let Some(value) = value {
            object.set(member, value);
        }
    }
    object.into()
}
