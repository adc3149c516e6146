//! Some thousand mutated bundles, changed in the same ways on every run (their keys are new ones);
//! with `FUZZ=N` in the environment N times as many, and others for each N.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

use certificates::{Bundle, fuzz_bundle};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

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
fn no_text_makes_anything_panic() {
    let seeds = seeds();
    let mut random = XorShift(0x9E37_79B9_7F4A_7C15 ^ times());
    for round in 0..100_000 * times() as usize {
        let mut text = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len());
            let byte = ALPHABET[random.below(ALPHABET.len())];
            match random.below(6) {
                0 => text[at] = byte,
                1 => text[at] ^= 1 << random.below(8),
                2 => text.insert(at, byte),
                3 => drop(text.remove(at)),
                4 if random.below(8) == 0 => text.truncate(at + 1),
                _ => {
                    let end = (at + random.below(200)).min(text.len());
                    let copy = text[at..end].to_vec();
                    let to = random.below(text.len());
                    text.splice(to..to, copy);
                }
            }
            if text.is_empty() {
                text.push(byte);
            }
        }
        let text = ShownOnPanic(text);
        fuzz_bundle(&text.0);
    }
}

#[test]
fn the_seeds_themselves_are_looked_at() {
    let seeds = seeds();
    let bundles = seeds.iter().filter(|seed| Bundle::parse(seed).is_ok());
    assert_eq!(bundles.count(), 4);
    for seed in seeds {
        fuzz_bundle(&seed);
    }
}

/// The keys are new on every run, and so the text has to be told.
struct ShownOnPanic(Vec<u8>);

impl Drop for ShownOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the text was: {}", self.0.escape_ascii());
        }
    }
}

fn times() -> u64 {
    let named = std::env::var("FUZZ").ok();
    named.and_then(|text| text.parse().ok()).unwrap_or(1)
}

struct XorShift(u64);

impl XorShift {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit.max(1)
    }
}
