//! The description of a chain, compared with Unit's.

use std::fs;

use certificates::{Bundle, Certificate, Name};
use rcgen::{CustomExtension, DnType, DnValue, KeyPair, SanType};

use crate::support::{Chain, has_openssl, openssl, params};

fn leaf(params: &rcgen::CertificateParams) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let text = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
    let bundle = Bundle::parse(text.as_bytes()).unwrap();
    bundle.chain()[0].clone()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn every_part_of_a_name_is_in_units_member_for_it() {
    let mut params = params("example.com", &["example.com", "www.example.com"]);
    for (kind, value) in [
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "CA"),
        (DnType::LocalityName, "San Francisco"),
        (DnType::OrganizationName, "Acme, Inc."),
        (DnType::OrganizationalUnitName, "IT"),
    ] {
        params.distinguished_name.push(kind, value);
    }
    let certificate = leaf(&params);
    let issuer = Name {
        common_name: some("example.com"),
        alt_names: None,
        country: some("US"),
        state_or_province: some("CA"),
        locality: some("San Francisco"),
        organization: some("Acme, Inc."),
        department: some("IT"),
    };
    assert_eq!(certificate.issuer, issuer);
    let alt_names = vec!["example.com".to_owned(), "www.example.com".to_owned()];
    let subject = Name {
        alt_names: Some(alt_names),
        ..issuer
    };
    assert_eq!(certificate.subject, subject);
}

#[test]
fn each_certificate_of_a_chain_has_its_own_names() {
    let chain = Chain::new(&["end", "int", "root"]);
    let bundle = Bundle::parse(chain.text().as_bytes()).unwrap();
    let names = bundle.chain().iter().map(|certificate| {
        let name = |name: &Name| name.common_name.clone().unwrap();
        (name(&certificate.subject), name(&certificate.issuer))
    });
    let wanted = [("end", "int"), ("int", "root"), ("root", "root")];
    let wanted = wanted.map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(names.collect::<Vec<_>>(), wanted);
}

#[test]
fn a_subject_may_be_empty() {
    assert_eq!(leaf(&params("", &[])).subject, Name::default());
    let alt_names = Some(vec!["example.com".to_owned()]);
    let subject = leaf(&params("", &["example.com"])).subject;
    assert_eq!(
        subject,
        Name {
            alt_names,
            ..Name::default()
        }
    );
}

#[test]
fn of_alternative_names_only_dns_names_are_shown() {
    let mut params = params("a", &[]);
    params.subject_alt_names = vec![
        SanType::IpAddress([10, 0, 0, 1].into()),
        SanType::DnsName("example.com".try_into().unwrap()),
        SanType::Rfc822Name("a@example.com".try_into().unwrap()),
        SanType::URI("https://example.com".try_into().unwrap()),
        SanType::OtherName((vec![1, 2, 3], "other".to_owned().into())),
        SanType::DnsName("*.Example.net".try_into().unwrap()),
    ];
    let wanted = vec!["example.com".to_owned(), "*.Example.net".to_owned()];
    assert_eq!(leaf(&params).subject.alt_names, Some(wanted));
    params.subject_alt_names.truncate(1);
    assert_eq!(leaf(&params).subject.alt_names, Some(Vec::new()));
    params.subject_alt_names.clear();
    assert_eq!(leaf(&params).subject.alt_names, None);
}

#[test]
fn an_issuer_has_alternative_names_of_its_own() {
    let mut params = params("a", &["subject.example"]);
    let content = [&[0x30, 0x0e, 0x82, 0x0c], &b"issuer.examp"[..]].concat();
    let extension = CustomExtension::from_oid_content(&[2, 5, 29, 18], content);
    params.custom_extensions = vec![extension];
    let certificate = leaf(&params);
    assert_eq!(
        certificate.issuer.alt_names,
        Some(vec!["issuer.examp".to_owned()])
    );
    let subject = vec!["subject.example".to_owned()];
    assert_eq!(certificate.subject.alt_names, Some(subject));
}

#[test]
fn damaged_alternative_names_are_treated_as_absent() {
    for content in [
        &b""[..],
        &[0x30, 0x03, 0x82, 0x7f, 0x61],
        &[0x31, 0x00],
        &[0x30, 0x01],
    ] {
        let mut params = params("a", &[]);
        let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], content.to_vec());
        params.custom_extensions = vec![extension];
        assert_eq!(leaf(&params).subject.alt_names, None, "{content:?}");
    }
}

#[test]
fn names_in_all_encodings_become_utf_8() {
    let long = "é".repeat(200);
    for (value, wanted) in [
        (DnValue::Utf8String("Größe".to_owned()), "Größe"),
        (DnValue::BmpString("Größe".try_into().unwrap()), "Größe"),
        (DnValue::TeletexString("Acme".try_into().unwrap()), "Acme"),
        (DnValue::PrintableString("Acme".try_into().unwrap()), "Acme"),
        (DnValue::Utf8String(String::new()), ""),
        (DnValue::Utf8String("a\0b\"\n".to_owned()), "a\0b\"\n"),
        (DnValue::Utf8String(long.clone()), &long[..254]),
    ] {
        let mut params = params("", &[]);
        params
            .distinguished_name
            .push(DnType::OrganizationName, value);
        assert_eq!(leaf(&params).subject.organization.as_deref(), Some(wanted));
    }
}

#[test]
fn dates_reach_beyond_2049() {
    let mut params = params("a", &[]);
    params.not_before = rcgen::date_time_ymd(1970, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    let validity = leaf(&params).validity;
    assert_eq!(validity.since.to_string(), "Jan  1 00:00:00 1970 GMT");
    assert_eq!(validity.until.to_string(), "Dec 31 00:00:00 9999 GMT");
    assert!(validity.contains(std::time::SystemTime::now()));
}

/// Unit has these texts from OpenSSL.
#[test]
fn dates_and_names_are_those_of_openssl() {
    if !has_openssl() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let subject = "/C=DE/ST=Bayern/L=Ort/O=Acme/OU=one/OU=two/CN=first/CN=second";
    let certificate = openssl(
        folder.path(),
        &format!(
            "req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -days 9 \
             -subj {subject} -addext subjectAltName=DNS:a.example,IP:10.0.0.1,DNS:b.example"
        ),
    );
    fs::write(folder.path().join("certificate"), &certificate).unwrap();
    let key = fs::read_to_string(folder.path().join("key")).unwrap();
    let bundle = Bundle::parse((certificate + &key).as_bytes()).unwrap();
    let Certificate {
        subject, validity, ..
    } = &bundle.chain()[0];
    let dates = openssl(folder.path(), "x509 -in certificate -noout -dates");
    let wanted = format!(
        "notBefore={}\nnotAfter={}\n",
        validity.since, validity.until
    );
    assert_eq!(dates, wanted);
    assert_eq!(subject.common_name, some("first"));
    assert_eq!(subject.department, some("one"));
    let names = ["a.example", "b.example"].map(str::to_owned);
    assert_eq!(subject.alt_names.as_deref(), Some(&names[..]));
}
