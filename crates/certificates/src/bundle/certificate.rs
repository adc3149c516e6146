//! X.509: the fields of a certificate that Unit's control API shows, and what is compared between them.

use std::fmt;
use std::time::SystemTime;

use x509_cert::der::asn1::{Any, BmpString, ObjectIdentifier, Uint};
use x509_cert::der::{DateTime, Decode as _, Tag, TagNumber, Tagged as _};
use x509_cert::name::Name as DistinguishedName;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Time;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const LOCALITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.7");
const STATE_OR_PROVINCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const DEPARTMENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");

const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const ISSUER_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.18");

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The kind of a private key. `Display` is Unit's text for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `RSA (2048 bits)`
    Rsa {
        /// The length of the modulus.
        bits: usize,
    },
    /// `ECDH`: Unit's name for all keys on elliptic curves, though they sign (ECDSA).
    Ec,
    /// `unknown`: Unit's name for all others, Ed25519 among them.
    Other,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA ({bits} bits)"),
            Self::Ec => f.write_str("ECDH"),
            Self::Other => f.write_str("unknown"),
        }
    }
}

/// One certificate: an element of `chain` in the control API, with its members in Unit's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The owner of the key.
    pub subject: Name,
    /// The authority that signed the certificate.
    pub issuer: Name,
    /// The period in which clients accept it.
    pub validity: Validity,
}

/// A subject or an issuer. The fields have the names and the order of Unit's object; a `None` is left
/// out there.
///
/// If a certificate has several values for one of them, only the first is here, cut off after 255
/// bytes, as in Unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// `CN`
    pub common_name: Option<String>,
    /// The DNS names among the subject alternative names. `Some` and empty if there are alternative
    /// names, but no DNS names.
    pub alt_names: Option<Vec<String>>,
    /// `C`
    pub country: Option<String>,
    /// `ST`
    pub state_or_province: Option<String>,
    /// `L`
    pub locality: Option<String>,
    /// `O`
    pub organization: Option<String>,
    /// `OU`
    pub department: Option<String>,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub since: Moment,
    /// The last second.
    pub until: Moment,
}

impl Validity {
    /// Whether the period includes this time.
    #[must_use]
    pub fn contains(&self, time: SystemTime) -> bool {
        self.since.to_system_time() <= time && time <= self.until.to_system_time()
    }
}

/// A time in seconds. `Display` is Unit's text for it: `Sep 18 19:46:19 2022 GMT`, with a space before a
/// day below 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(DateTime);

impl Moment {
    /// The same time, for comparisons.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        self.0.to_system_time()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let time = &self.0;
        let month = usize::from(time.month()).saturating_sub(1);
        write!(
            f,
            "{} {:2} {:02}:{:02}:{:02} {} GMT",
            MONTHS.get(month).unwrap_or(&"?"),
            time.day(),
            time.hour(),
            time.minutes(),
            time.seconds(),
            time.year()
        )
    }
}

/// A certificate, and the fields that are compared with those of the others and of the key.
pub(crate) struct Parsed {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyKind,
    pub(crate) public_key: Vec<u8>,
    pub(crate) subject: DistinguishedName,
    pub(crate) issuer: DistinguishedName,
}

pub(crate) fn parse(der: &[u8]) -> Result<Parsed, String> {
    let certificate = x509_cert::Certificate::from_der(der).map_err(|error| error.to_string())?;
    let content = certificate.tbs_certificate();
    let alternatives = |wanted| {
        let mut extensions = content.extensions()?.iter();
        let extension = extensions.find(|extension| extension.extn_id == wanted)?;
        dns_names(extension.extn_value.as_bytes())
    };
    let key = content.subject_public_key_info();
    Ok(Parsed {
        certificate: Certificate {
            subject: name(content.subject(), alternatives(SUBJECT_ALT_NAME)),
            issuer: name(content.issuer(), alternatives(ISSUER_ALT_NAME)),
            validity: Validity {
                since: moment(content.validity().not_before),
                until: moment(content.validity().not_after),
            },
        },
        key: key_kind(key),
        public_key: key.subject_public_key.raw_bytes().to_vec(),
        subject: content.subject().clone(),
        issuer: content.issuer().clone(),
    })
}

/// The bits of a public key, from its `SubjectPublicKeyInfo`.
pub(crate) fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    let key = SubjectPublicKeyInfoOwned::from_der(der).ok()?;
    Some(key.subject_public_key.raw_bytes().to_vec())
}

fn moment(time: Time) -> Moment {
    Moment(time.to_date_time())
}

fn key_kind(key: &SubjectPublicKeyInfoOwned) -> KeyKind {
    match key.algorithm.oid {
        RSA => {
            // RFC 8017, appendix A.1.1: the modulus and the exponent.
            let numbers = Vec::<Uint>::from_der(key.subject_public_key.raw_bytes());
            let numbers = numbers.unwrap_or_default();
            let modulus = numbers.first().map_or(&[] as &[u8], Uint::as_bytes);
            let unused = modulus.first().map_or(0, |byte| byte.leading_zeros());
            KeyKind::Rsa {
                bits: modulus.len() * 8 - unused as usize,
            }
        }
        EC => KeyKind::Ec,
        _ => KeyKind::Other,
    }
}

fn name(name: &DistinguishedName, alt_names: Option<Vec<String>>) -> Name {
    let first = |wanted| {
        let mut attributes = name.iter();
        attributes
            .find(|attribute| attribute.oid == wanted)
            .map(|attribute| text(&attribute.value))
    };
    Name {
        common_name: first(COMMON_NAME),
        alt_names,
        country: first(COUNTRY),
        state_or_province: first(STATE_OR_PROVINCE),
        locality: first(LOCALITY),
        organization: first(ORGANIZATION),
        department: first(DEPARTMENT),
    }
}

/// A value as UTF-8. Unit passes on its bytes, which for UTF-16 makes invalid JSON.
fn text(value: &Any) -> String {
    const MOST: usize = 255;
    let bytes = value.value();
    let mut text = match value.tag() {
        Tag::BmpString => value
            .decode_as::<BmpString>()
            .map_or_else(|_| String::new(), |text| text.to_string()),
        // T.61 by the standard, but Latin-1 in practice.
        Tag::TeletexString => bytes.iter().copied().map(char::from).collect(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    text.truncate(text.floor_char_boundary(MOST));
    text
}

/// The DNS names in an extension. `None` if it is damaged: Unit then treats it as absent.
fn dns_names(extension: &[u8]) -> Option<Vec<String>> {
    // RFC 5280, section 4.2.1.6: dNSName is [2]; other kinds of names are ignored.
    const DNS_NAME: Tag = Tag::ContextSpecific {
        constructed: false,
        number: TagNumber(2),
    };
    let names = Vec::<Any>::from_der(extension).ok()?;
    let names = names.iter().filter(|name| name.tag() == DNS_NAME);
    Some(
        names
            .map(|name| String::from_utf8_lossy(name.value()).into_owned())
            .collect(),
    )
}
