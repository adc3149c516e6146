//! Mutated bundles, on every test run; see the crate `test-mutations`.

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use test_mutations::Mutations;

use super::fuzz_bundle;
use crate::Bundle;

/// Bytes that matter to PEM and to DER, and some that should not.
const ALPHABET: &[u8] =
    b"-----BEGINDCRTFAY \r\n\n:=+/AQgwIBMC\x00\x01\x02\x03\x06\x0c\x13\x16\x17\x18\
    \x1e\x30\x31\x80\x81\x82\xa0\xa3\xff\xef\xbb\xbf";

/// Bundles as texts, and their certificates in DER.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names = ["a.example", "*.b.example", "10.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Größe");
        let certificate = params.self_signed(&key).unwrap().pem();
        let der = CertificateDer::from_pem_slice(certificate.as_bytes());
        seeds.push(der.unwrap().to_vec());
        seeds.push((certificate.clone() + &key.serialize_pem()).into_bytes());
        let crlf = (key.serialize_pem() + &certificate).replace('\n', "\r\n");
        seeds.push(crlf.into_bytes());
    }
    seeds.push(b"name.example".to_vec());
    seeds.push(b"IAMkP16P8OBuqsijSDGKTpmxrzfFNPP4EdRovXH2mqstXsodPC6MqIce5NlMzHLP".to_vec());
    seeds
}

#[test]
fn mutated_bundles_do_not_panic() {
    let seeds = seeds();
    let mutations = Mutations::of(&seeds)
        .with_bytes(ALPHABET)
        .with_longest_copy(200);
    for text in mutations.texts(100_000) {
        fuzz_bundle(&text);
    }
}

#[test]
fn unmutated_seeds_are_bundles_and_do_not_panic() {
    let seeds = seeds();
    let bundles = seeds.iter().filter(|seed| Bundle::parse(seed).is_ok());
    assert_eq!(bundles.count(), 4);
    for seed in seeds {
        fuzz_bundle(&seed);
    }
}
