//! The blocks of a PEM text, each with its place.
//!
//! rustls-pki-types decodes a block, but silently skips those that it does not know. A bundle with such a
//! block is refused here, as in Unit: the skipped block may be the one that matters. So this module finds
//! the blocks, and rustls-pki-types decodes each.

use rustls::pki_types::pem::{PemObject as _, SectionKind};
use untrusted_text::excerpt;

use super::error::{BundleError, BundleErrorKind, MAX_CERTIFICATES, Place};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// The key, and the certificates.
const MAX_BLOCKS: usize = 1 + MAX_CERTIFICATES;

/// A decoded block.
pub(crate) struct Block {
    pub(crate) place: Place,
    /// One of those that [`kind`] has.
    pub(crate) kind: SectionKind,
    pub(crate) der: Vec<u8>,
}

/// All blocks of a text. Text between them is ignored.
pub(crate) fn blocks(text: &[u8]) -> Result<Vec<Block>, BundleError> {
    // A byte order mark, with which some editors begin a file.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut blocks = Vec::new();
    let mut lines = Lines {
        text,
        at: 0,
        number: 0,
    };
    while let Some(first) = lines.next() {
        let Some(label) = first.text.strip_prefix(BEGIN) else {
            continue;
        };
        let place = Place {
            block: blocks.len() + 1,
            line: first.number,
        };
        if blocks.len() == MAX_BLOCKS {
            return Err(BundleErrorKind::TooManyBlocks.at(place));
        }
        let block = block(&mut lines, &first, label).map_err(|kind| kind.at(place))?;
        let (kind, der) = block;
        blocks.push(Block { place, kind, der });
    }
    Ok(blocks)
}

fn block(
    lines: &mut Lines<'_>,
    first: &Line<'_>,
    label: &[u8],
) -> Result<(SectionKind, Vec<u8>), BundleErrorKind> {
    let label = label
        .trim_ascii_end()
        .strip_suffix(DASHES)
        .ok_or(BundleErrorKind::FirstLine)?;
    let kind = kind(label)?;
    let last = [END, label, DASHES].concat();
    let end = loop {
        let line = lines.next().ok_or(BundleErrorKind::NoEnd)?;
        if line.text.trim_ascii_end() == last {
            break line.start + line.text.len();
        }
        if line.text.starts_with(DASHES) {
            return Err(BundleErrorKind::NoEnd);
        }
        // RFC 1421, section 4.6.1.1: how keys were encrypted before PKCS #8.
        if line.text.starts_with(b"Proc-Type:") {
            return Err(BundleErrorKind::EncryptedKey);
        }
    };
    let text = lines.text.get(first.start..end).unwrap_or_default();
    match <(SectionKind, Vec<u8>)>::pem_slice_iter(text).next() {
        Some(Ok((found, der))) if found == kind && !der.is_empty() => Ok((kind, der)),
        _ => Err(BundleErrorKind::Base64),
    }
}

fn kind(label: &[u8]) -> Result<SectionKind, BundleErrorKind> {
    match label {
        b"CERTIFICATE" => Ok(SectionKind::Certificate),
        b"PRIVATE KEY" => Ok(SectionKind::PrivateKey),
        b"RSA PRIVATE KEY" => Ok(SectionKind::RsaPrivateKey),
        b"EC PRIVATE KEY" => Ok(SectionKind::EcPrivateKey),
        b"ENCRYPTED PRIVATE KEY" => Err(BundleErrorKind::EncryptedKey),
        _ => Err(BundleErrorKind::Label(excerpt(&String::from_utf8_lossy(
            label,
        )))),
    }
}

struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    number: usize,
}

struct Line<'a> {
    /// Without its line ending.
    text: &'a [u8],
    start: usize,
    number: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        // A line ends in LF, CR LF or CR (RFC 7468, section 3).
        let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let line = length.map_or(rest, |length| rest.split_at(length).0);
        let after = rest.split_at(line.len()).1;
        let ending = match after {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        };
        let start = self.at;
        self.at += line.len() + ending;
        self.number += 1;
        Some(Line {
            text: line,
            start,
            number: self.number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(usize, usize, Vec<u8>)> {
        let blocks = blocks(text.as_bytes()).unwrap();
        let place = |block: Block| (block.place.block, block.place.line, block.der);
        blocks.into_iter().map(place).collect()
    }

    #[test]
    fn lines_may_end_in_lf_crlf_or_cr() {
        for ending in ["\n", "\r\n", "\r", " \n", "\n\n"] {
            let text =
                "one\n-----BEGIN CERTIFICATE-----\nAAEC\nAwQF\n-----END CERTIFICATE-----\ntwo";
            let blocks = kinds(&text.replace('\n', ending));
            assert_eq!(blocks[0].2, [0, 1, 2, 3, 4, 5], "{ending:?}");
            let line = if ending == "\n\n" { 3 } else { 2 };
            assert_eq!((blocks[0].0, blocks[0].1), (1, line), "{ending:?}");
        }
    }

    #[test]
    fn text_between_blocks_is_skipped() {
        let text = "\u{feff}-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n\
                    subject=CN = a\n -----BEGIN CERTIFICATE-----\n-----END\n\
                    -----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----";
        assert_eq!(kinds(text), [(1, 1, vec![0]), (2, 7, vec![1])]);
    }

    #[test]
    fn a_line_of_dashes_in_a_block_is_refused() {
        for line in [
            "-----END CERTIFICATE-----x",
            "-----END CERTIFICATE----",
            "-----END PRIVATE KEY-----",
            "-----BEGIN CERTIFICATE-----",
            "-----",
        ] {
            let text = format!(
                "-----BEGIN CERTIFICATE-----\nAQ==\n{line}\nAQ==\n-----END CERTIFICATE-----\n"
            );
            let error = blocks(text.as_bytes()).err().unwrap();
            assert!(matches!(error.kind, BundleErrorKind::NoEnd), "{line}");
        }
    }
}
