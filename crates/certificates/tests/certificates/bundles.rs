//! Parsing bundles: which texts are accepted, and the errors for the others.

use certificates::{Bundle, BundleErrorKind, Place};
use rcgen::KeyPair;

use crate::support::{Chain, bundle, has_openssl, openssl, params};

fn refused(text: &str) -> (Option<(usize, usize)>, BundleErrorKind) {
    let error = Bundle::parse(text.as_bytes()).expect_err(text);
    assert!(error.to_string().len() < 500, "{error}");
    let place = error.place.map(|place| (place.block, place.line));
    (place, error.kind)
}

fn common_names(text: &str) -> Vec<String> {
    let bundle = Bundle::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let names = bundle.chain().iter();
    names
        .map(|certificate| certificate.subject.common_name.clone().unwrap())
        .collect()
}

fn lines(text: &str) -> usize {
    text.lines().count()
}

#[test]
fn the_key_may_stand_anywhere_and_the_chain_is_from_leaf_to_root() {
    let chain = Chain::new(&["leaf", "middle", "root"]);
    let [leaf, middle, root] = &chain.certificates[..] else {
        panic!()
    };
    let key = &chain.key;
    let names = ["leaf", "middle", "root"];
    assert_eq!(common_names(&chain.text()), names);
    assert_eq!(common_names(&join([key, leaf, middle, root])), names);
    assert_eq!(common_names(&join([leaf, key, middle, root])), names);
    // The root is better left out, and the issuer may be.
    assert_eq!(common_names(&join([leaf, middle, key])), names[..2]);
    assert_eq!(common_names(&join([leaf, key])), names[..1]);
}

#[test]
fn text_around_blocks_and_line_endings_are_ignored() {
    let chain = Chain::new(&["leaf", "root"]);
    let text = chain.text();
    let names = ["leaf", "root"];
    assert_eq!(common_names(&text.replace('\n', "\r\n")), names);
    assert_eq!(common_names(text.trim_end()), names);
    assert_eq!(common_names(&format!("\u{feff}{text}")), names);
    let commented = text.replace("-----BEGIN", "\nsubject=/CN=a\nBag Attributes\n-----BEGIN");
    assert_eq!(common_names(&commented), names);
}

#[test]
fn a_chain_may_be_long() {
    let names: Vec<_> = (0..20).map(|number| format!("name{number}")).collect();
    let borrowed: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(common_names(&Chain::new(&borrowed).text()), names);
}

#[test]
fn a_bundle_without_a_key_or_a_certificate_is_refused() {
    let chain = Chain::new(&["leaf", "root"]);
    assert_eq!(
        refused(&chain.certificates.concat()),
        (None, BundleErrorKind::NoKey)
    );
    assert_eq!(refused(&chain.key), (None, BundleErrorKind::NoCertificate));
    for text in [
        "",
        "\n",
        "-",
        "no PEM at all",
        "\u{feff}",
        "{\"a\": 1}",
        "-----BEGIN",
    ] {
        assert_eq!(refused(text), (None, BundleErrorKind::NoKey), "{text:?}");
    }
    let zeros = vec![0; Bundle::MAX_TEXT];
    assert_eq!(
        Bundle::parse(&zeros).unwrap_err().kind,
        BundleErrorKind::NoKey
    );
}

#[test]
fn a_second_key_is_refused_even_if_it_is_the_same() {
    let chain = Chain::new(&["leaf"]);
    let first = Place {
        block: 2,
        line: lines(&chain.certificates[0]) + 1,
    };
    let text = chain.text() + &chain.key;
    let line = lines(&chain.text()) + 1;
    assert_eq!(
        refused(&text),
        (Some((3, line)), BundleErrorKind::TwoKeys { first })
    );
    let error = Bundle::parse(text.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "block 3 (line {line}): this is a second private key; the first one is in block 2 (line {})",
            first.line
        )
    );
}

#[test]
fn the_key_has_to_belong_to_the_first_certificate() {
    let chain = Chain::new(&["leaf", "root"]);
    let leaf = Place { block: 1, line: 1 };
    let place = Some((3, lines(&chain.certificates.concat()) + 1));
    let key = KeyPair::generate().unwrap().serialize_pem();
    let other = None;
    assert_eq!(
        refused(&(chain.certificates.concat() + &key)),
        (place, BundleErrorKind::KeyMismatch { leaf, other })
    );
    // Another kind of key does not match either.
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert_eq!(
        refused(&(chain.certificates.concat() + &key.serialize_pem())),
        (place, BundleErrorKind::KeyMismatch { leaf, other })
    );
}

#[test]
fn a_chain_out_of_order_is_refused_with_the_place_where_it_breaks() {
    let chain = Chain::new(&["leaf", "middle", "root"]);
    let [leaf, middle, root] = &chain.certificates[..] else {
        panic!()
    };
    let key = &chain.key;

    let (place, kind) = refused(&join([root, middle, leaf, key]));
    let after = lines(root) + lines(middle) + 1;
    assert_eq!(place.unwrap().0, 4);
    let wanted = BundleErrorKind::KeyMismatch {
        leaf: Place { block: 1, line: 1 },
        other: Some(Place {
            block: 3,
            line: after,
        }),
    };
    assert_eq!(kind, wanted);
    assert!(
        kind.to_string().contains("which has to come first"),
        "{kind}"
    );

    let (place, kind) = refused(&join([leaf, root, middle, key]));
    assert_eq!(place, Some((2, lines(leaf) + 1)));
    let (subject, issuer) = ("CN=root".to_owned(), "CN=middle".to_owned());
    assert_eq!(kind, BundleErrorKind::Order { subject, issuer });

    let (place, _) = refused(&join([leaf, leaf, middle, key]));
    assert_eq!(place, Some((2, lines(leaf) + 1)));
    let stranger = &Chain::new(&["stranger"]).certificates[0];
    let (place, _) = refused(&join([leaf, middle, root, stranger, key]));
    assert_eq!(place.unwrap().0, 4);
}

#[test]
fn an_expired_certificate_is_accepted_and_shows_its_validity() {
    let key = KeyPair::generate().unwrap();
    let mut params = params("old", &[]);
    params.not_before = rcgen::date_time_ymd(2001, 2, 3);
    params.not_after = rcgen::date_time_ymd(2002, 12, 31);
    let text = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
    let bundle = Bundle::parse(text.as_bytes()).unwrap();
    let validity = bundle.chain()[0].validity;
    assert_eq!(validity.since.to_string(), "Feb  3 00:00:00 2001 GMT");
    assert_eq!(validity.until.to_string(), "Dec 31 00:00:00 2002 GMT");
    assert!(!validity.contains(std::time::SystemTime::now()));
    assert!(validity.contains(validity.since.to_system_time()));
    assert!(validity.contains(validity.until.to_system_time()));
}

#[test]
fn unknown_blocks_are_refused_rather_than_skipped() {
    let text = bundle("a", &["a"]);
    for (label, encrypted) in [
        ("EC PARAMETERS", false),
        ("TRUSTED CERTIFICATE", false),
        ("X509 CERTIFICATE", false),
        ("DSA PRIVATE KEY", false),
        ("CERTIFICATE REQUEST", false),
        ("PUBLIC KEY", false),
        ("certificate", false),
        ("", false),
        ("ENCRYPTED PRIVATE KEY", true),
    ] {
        let block = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let wanted = if encrypted {
            BundleErrorKind::EncryptedKey
        } else {
            BundleErrorKind::Label(label.to_owned())
        };
        assert_eq!(
            refused(&(block.clone() + &text)),
            (Some((1, 1)), wanted.clone())
        );
        assert_eq!(
            refused(&(text.clone() + &block)),
            (Some((3, lines(&text) + 1)), wanted)
        );
    }
    let label = "\u{1b}[31m".repeat(1000);
    let (_, kind) = refused(&format!("-----BEGIN {label}-----\n"));
    let BundleErrorKind::Label(shown) = kind else {
        panic!("{kind}")
    };
    assert!(shown.starts_with("\\u{1b}[31m") && shown.ends_with('…'));
}

#[test]
fn an_encrypted_key_is_refused_as_such() {
    let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                DEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    assert_eq!(refused(text), (Some((1, 1)), BundleErrorKind::EncryptedKey));
}

#[test]
fn damage_within_a_block_is_reported_with_its_place() {
    let chain = Chain::new(&["leaf"]);
    let certificate = &chain.certificates[0];
    let second_line = certificate.lines().nth(1).unwrap();

    let text = chain.text().replacen(second_line, "!!!!", 1);
    assert_eq!(refused(&text), (Some((1, 1)), BundleErrorKind::Base64));
    let text = chain.text().replacen(second_line, "AAAA", 1);
    assert!(matches!(
        refused(&text),
        (Some((1, 1)), BundleErrorKind::Certificate(_))
    ));
    let text = chain.text().replacen("CERTIFICATE-----", "CERTIFICATE", 1);
    assert_eq!(refused(&text), (Some((1, 1)), BundleErrorKind::FirstLine));
    let text = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
    assert_eq!(refused(text), (Some((1, 1)), BundleErrorKind::Base64));

    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let (place, kind) = refused(&(certificate.clone() + key));
    assert_eq!(place, Some((2, lines(certificate) + 1)));
    assert!(matches!(kind, BundleErrorKind::Key(_)), "{kind}");
}

#[test]
fn a_text_that_is_cut_off_anywhere_is_refused() {
    let text = Chain::new(&["leaf", "root"]).text();
    let whole = text.trim_end().len();
    for length in 0..whole {
        let error = Bundle::parse(&text.as_bytes()[..length]).expect_err(&text[..length]);
        assert!(
            matches!(
                error.kind,
                BundleErrorKind::NoKey
                    | BundleErrorKind::NoEnd
                    | BundleErrorKind::FirstLine
                    | BundleErrorKind::Label(_)
            ),
            "{length}: {error}"
        );
    }
}

#[test]
fn a_text_or_chain_that_is_too_large_is_refused() {
    let text = bundle("a", &["a"]);
    let filled = text.clone() + &" ".repeat(Bundle::MAX_TEXT - text.len());
    assert!(Bundle::parse(filled.as_bytes()).is_ok());
    let (place, kind) = refused(&(filled + " "));
    assert_eq!((place, kind), (None, BundleErrorKind::TooLarge));

    let leaf = text
        .split_inclusive("-----END CERTIFICATE-----\n")
        .next()
        .unwrap();
    let (place, kind) = refused(&leaf.repeat(102));
    assert_eq!(
        (place.unwrap().0, kind),
        (102, BundleErrorKind::TooManyBlocks)
    );

    let names: Vec<_> = (0..2000)
        .map(|number| format!("name-{number:04}.example.com"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert!(Bundle::parse(bundle("a", &names).as_bytes()).is_ok());
    let large = bundle("a", &[&names[..], &names[..1000]].concat());
    assert_eq!(
        refused(&large),
        (Some((1, 1)), BundleErrorKind::ChainTooLarge)
    );
}

#[test]
fn every_supported_kind_of_key_is_accepted_in_every_form() {
    for (algorithm, kind) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, "ECDH"),
        (&rcgen::PKCS_ECDSA_P384_SHA384, "ECDH"),
        (&rcgen::PKCS_ED25519, "unknown"),
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let text = params("a", &[]).self_signed(&key).unwrap().pem() + &key.serialize_pem();
        assert_eq!(
            Bundle::parse(text.as_bytes()).unwrap().key().to_string(),
            kind
        );
    }
    if !has_openssl() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (key, traditional, kind) in [
        (
            "rsa -pkeyopt rsa_keygen_bits:2048",
            "rsa",
            Some("RSA (2048 bits)"),
        ),
        (
            "rsa -pkeyopt rsa_keygen_bits:4096",
            "rsa",
            Some("RSA (4096 bits)"),
        ),
        ("rsa -pkeyopt rsa_keygen_bits:4224", "rsa", None),
        ("ec -pkeyopt ec_paramgen_curve:P-256", "ec", Some("ECDH")),
        ("ec -pkeyopt ec_paramgen_curve:P-384", "ec", Some("ECDH")),
        ("rsa -pkeyopt rsa_keygen_bits:1024", "rsa", None),
        ("ec -pkeyopt ec_paramgen_curve:P-521", "ec", None),
        ("ed448", "", None),
    ] {
        openssl(folder.path(), &format!("genpkey -out key -algorithm {key}"));
        let certificate = openssl(folder.path(), "req -x509 -new -key key -subj /CN=a");
        let mut forms = vec![std::fs::read_to_string(folder.path().join("key")).unwrap()];
        if !traditional.is_empty() {
            let command = format!("{traditional} -in key -traditional");
            let command = command.replace("ec -in key -traditional", "ec -in key");
            forms.push(openssl(folder.path(), &command));
            assert!(
                forms[1].contains(&traditional.to_uppercase()),
                "{}",
                forms[1]
            );
        }
        for form in forms {
            let text = certificate.clone() + &form;
            match kind {
                Some(kind) => {
                    let bundle = Bundle::parse(text.as_bytes()).unwrap();
                    assert_eq!(bundle.key().to_string(), kind);
                }
                None => assert!(matches!(refused(&text).1, BundleErrorKind::Key(_)), "{key}"),
            }
        }
    }
}

#[test]
fn a_certificate_below_version_3_is_accepted() {
    if !has_openssl() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    openssl(
        folder.path(),
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out csr -subj /CN=a",
    );
    let certificate = openssl(folder.path(), "x509 -req -in csr -signkey key");
    std::fs::write(folder.path().join("certificate"), &certificate).unwrap();
    let text = openssl(folder.path(), "x509 -in certificate -noout -text");
    assert!(text.contains("Version: 1"), "{text}");
    let key = std::fs::read_to_string(folder.path().join("key")).unwrap();
    assert_eq!(common_names(&(certificate + &key)), ["a"]);
}

/// Many different tools have made them, over thirty years.
#[test]
fn the_root_certificates_of_this_machine_can_be_parsed() {
    let Ok(roots) = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt") else {
        eprintln!("skipped: there is no list of roots");
        return;
    };
    let key = KeyPair::generate().unwrap().serialize_pem();
    let end = "-----END CERTIFICATE-----\n";
    for root in roots
        .split_inclusive(end)
        .filter(|root| root.ends_with(end))
    {
        let (_, kind) = refused(&(key.clone() + root));
        assert!(
            matches!(kind, BundleErrorKind::KeyMismatch { .. }),
            "{kind}\n{root}"
        );
    }
}

#[test]
fn the_debug_output_of_a_bundle_contains_no_secret() {
    let key = KeyPair::generate().unwrap();
    let certificate = params("a", &[]).self_signed(&key).unwrap().pem();
    let text = certificate + &key.serialize_pem();
    let shown = format!("{:?}", Bundle::parse(text.as_bytes()).unwrap());
    let secret = format!("{:?}", &key.serialized_der()[36..68]);
    assert!(!shown.contains(secret.trim_matches(['[', ']'])), "{shown}");
}

fn join<const N: usize>(texts: [&String; N]) -> String {
    texts.map(String::as_str).concat()
}
