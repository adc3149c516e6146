//! SNI: which certificate is presented for which server name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use untrusted_text::excerpt;

use super::error::TlsError;
use crate::{Bundle, Certificates};

/// The bundles of one listener, by the names that clients send in SNI. Immutable.
#[derive(Debug)]
pub(crate) struct SniTable {
    default: Arc<CertifiedKey>,
    /// In lower case. `*.example.com` is here as `.example.com`.
    names: HashMap<String, (usize, Arc<CertifiedKey>)>,
    warnings: Vec<NameWarning>,
}

impl SniTable {
    pub(crate) fn new(names: &[String], certificates: &Certificates) -> Result<Self, TlsError> {
        let find = |name: &String| {
            let bundle = certificates.get(name);
            bundle.ok_or_else(|| TlsError::Unknown(excerpt(name)))
        };
        let bundles: Vec<_> = names.iter().map(find).collect::<Result<_, _>>()?;
        let first = bundles.first().ok_or(TlsError::None)?;
        let mut table = Self {
            default: Arc::clone(first.certified()),
            names: HashMap::new(),
            warnings: Vec::new(),
        };
        // A single bundle is presented for every name.
        if bundles.len() > 1 {
            for (index, bundle) in bundles.iter().enumerate() {
                table.add(names, index, bundle);
            }
        }
        Ok(table)
    }

    fn add(&mut self, certificates: &[String], index: usize, bundle: &Bundle) {
        let certificate = |index: usize| certificates.get(index).cloned().unwrap_or_default();
        let subject = bundle.chain().first().map(|leaf| &leaf.subject);
        // RFC 6125, section 6.4.4: if there are alternative names of any kind, the common name is ignored.
        let names = match subject.map(|subject| (&subject.alt_names, &subject.common_name)) {
            Some((Some(names), _)) => names.as_slice(),
            Some((None, Some(name))) if !name.is_empty() => std::slice::from_ref(name),
            _ => {
                self.warnings.push(NameWarning::NoName {
                    certificate: certificate(index),
                });
                return;
            }
        };
        for name in names {
            let key = name.to_ascii_lowercase();
            let key = match key.strip_prefix('*') {
                None => key,
                Some(rest) if rest.starts_with('.') => rest.to_owned(),
                Some(_) => {
                    self.warnings.push(NameWarning::Wildcard {
                        name: excerpt(name),
                        certificate: certificate(index),
                    });
                    continue;
                }
            };
            match self.names.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert((index, Arc::clone(bundle.certified())));
                }
                Entry::Occupied(entry) => {
                    let first = certificate(entry.get().0);
                    let certificate = certificate(index);
                    if first != certificate {
                        self.warnings.push(NameWarning::Duplicate {
                            name: excerpt(name),
                            certificate,
                            first,
                        });
                    }
                }
            }
        }
    }

    /// The certificate for a client that sends `name` in SNI. An exact name has precedence over a wildcard,
    /// in whichever bundle; a wildcard stands for one label; the first bundle is the default.
    pub(crate) fn certificate_for(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name.filter(|_| !self.names.is_empty()) else {
            return &self.default;
        };
        let name = name.to_ascii_lowercase();
        let found = self.names.get(&name).or_else(|| {
            let (_, parent) = name.split_at_checked(name.find('.')?)?;
            self.names.get(parent)
        });
        found.map_or(&self.default, |(_, certified)| certified)
    }

    pub(crate) fn warnings(&self) -> &[NameWarning] {
        &self.warnings
    }
}

/// A name, or a bundle among several, that SNI can never select. Unit logs these, too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameWarning {
    /// A bundle without names. Only the listener's first bundle is presented nevertheless.
    #[error(
        "the certificate \"{certificate}\" has neither alternative names nor a common name, so SNI cannot select it"
    )]
    NoName {
        /// The bundle.
        certificate: String,
    },
    /// A `*` that is not the whole first label.
    #[error(
        "the name \"{name}\" in the certificate \"{certificate}\" is ignored: a wildcard has to begin with \"*.\""
    )]
    Wildcard {
        /// The name.
        name: String,
        /// The bundle that has it.
        certificate: String,
    },
    /// A name that a bundle before it in the list has.
    #[error(
        "the name \"{name}\" in the certificate \"{certificate}\" is ignored: \"{first}\", which is listed before, has this name, too"
    )]
    Duplicate {
        /// The name.
        name: String,
        /// The bundle whose name is ignored.
        certificate: String,
        /// The bundle that is presented.
        first: String,
    },
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn table(bundles: &[(&str, &str, &[&str])]) -> SniTable {
        let names: Vec<_> = bundles
            .iter()
            .map(|(name, ..)| (*name).to_owned())
            .collect();
        let bundles = bundles.iter().map(|&(name, common_name, alt_names)| {
            let alt_names: Vec<_> = alt_names.iter().map(|&name| name.to_owned()).collect();
            let mut params = CertificateParams::new(alt_names).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            if !common_name.is_empty() {
                params
                    .distinguished_name
                    .push(DnType::CommonName, common_name);
            }
            let key = KeyPair::generate().unwrap();
            let text = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
            (
                name.to_owned(),
                Arc::new(Bundle::parse(text.as_bytes()).unwrap()),
            )
        });
        SniTable::new(&names, &bundles.collect()).unwrap()
    }

    impl SniTable {
        /// The index of the selected bundle; 0 for the default, too.
        fn index(&self, name: &str) -> usize {
            let chosen = self.certificate_for(Some(name));
            let mut named = self.names.values();
            named
                .find(|(_, certified)| Arc::ptr_eq(certified, chosen))
                .map_or(0, |(index, _)| *index)
        }
    }

    #[test]
    fn sni_is_compared_without_case() {
        let table = table(&[
            ("a", "LOCALHOST.com", &[]),
            ("b", "b", &["ALT1.example.com", "*.ALT2.example.com"]),
        ]);
        for (name, index) in [
            ("localhost.com", 0),
            ("other", 0),
            ("alt1.example.com", 1),
            ("ALT1.EXAMPLE.COM", 1),
            ("www.alt2.EXAMPLE.com", 1),
            ("alt2.example.com", 0),
            ("www.alt1.example.com", 0),
        ] {
            assert_eq!(table.index(name), index, "{name}");
        }
        assert!(Arc::ptr_eq(table.certificate_for(None), &table.default));
        assert_eq!(table.warnings(), []);
    }

    #[test]
    fn sni_prefers_an_exact_name_to_a_wildcard_which_stands_for_one_label() {
        let table = table(&[
            ("default", "default", &[]),
            ("wildcard", "", &["*.example.com", "*.alt.example.com"]),
            ("whole", "", &["www.example.com"]),
        ]);
        for (name, index) in [
            ("www.example.com", 2),
            ("api.example.com", 1),
            ("alt.example.com", 1),
            ("www.alt.example.com", 1),
            ("a.b.example.com", 0),
            ("example.com", 0),
            ("com", 0),
            ("www.alt.example.org", 0),
            ("", 0),
            (".", 0),
            // rustls fails the handshake before these get here; Unit takes the default for them.
            (".example.com", 1),
            ("*.example.com", 1),
        ] {
            assert_eq!(table.index(name), index, "{name}");
        }
    }

    #[test]
    fn sni_ignores_the_common_name_if_there_are_alternative_names() {
        let table = table(&[
            ("default", "default", &[]),
            ("b", "common.example", &["alternative.example"]),
            ("c", "address.example", &["10.0.0.1"]),
            ("d", "common.only", &[]),
        ]);
        assert_eq!(table.index("alternative.example"), 1);
        assert_eq!(table.index("common.example"), 0);
        assert_eq!(table.index("address.example"), 0);
        assert_eq!(table.index("common.only"), 3);
        assert_eq!(table.warnings(), []);
    }

    #[test]
    fn sni_selects_the_first_of_two_bundles_with_the_same_name() {
        let table = table(&[
            ("default", "default", &[]),
            ("b", "", &["same.example", "*.same.example"]),
            ("c", "", &["SAME.example", "*", "*x.example", "c.example"]),
            ("d", "", &[]),
            ("e", "e", &["*.same.example"]),
        ]);
        assert_eq!(table.index("same.example"), 1);
        assert_eq!(table.index("www.same.example"), 1);
        assert_eq!(table.index("c.example"), 2);
        let duplicate = |name: &str, certificate: &str| NameWarning::Duplicate {
            name: name.to_owned(),
            certificate: certificate.to_owned(),
            first: "b".to_owned(),
        };
        let wildcard = |name: &str| NameWarning::Wildcard {
            name: name.to_owned(),
            certificate: "c".to_owned(),
        };
        let wanted = [
            duplicate("SAME.example", "c"),
            wildcard("*"),
            wildcard("*x.example"),
            NameWarning::NoName {
                certificate: "d".to_owned(),
            },
            duplicate("*.same.example", "e"),
        ];
        assert_eq!(table.warnings(), wanted);
    }

    #[test]
    fn sni_has_no_warning_for_a_bundle_that_is_listed_twice() {
        let table = table(&[("a", "", &["a"]), ("b", "", &["b"]), ("a", "", &["a"])]);
        assert_eq!(table.index("b"), 1);
        assert_eq!(table.warnings(), []);
    }

    #[test]
    fn sni_selects_an_only_bundle_for_every_name() {
        let table = table(&[("a", "", &["*"])]);
        assert_eq!(table.index("a"), 0);
        assert_eq!(table.warnings(), []);
    }
}
