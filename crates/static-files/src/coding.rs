//! `Accept-Encoding`: which precompressed sibling a client prefers (RFC 9110, section 12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// A content coding of precompressed siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Brotli,
    Zstandard,
    Gzip,
}

impl Coding {
    /// In order of preference if the client's weights are equal: the smallest in most cases first.
    pub(crate) const ALL: [Self; 3] = [Self::Brotli, Self::Zstandard, Self::Gzip];

    /// The name in `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The suffix of the sibling's name.
    pub(crate) fn suffix(self) -> &'static [u8] {
        match self {
            Self::Brotli => b".br",
            Self::Zstandard => b".zst",
            Self::Gzip => b".gz",
        }
    }
}

/// The codings that a client accepts (RFC 9110, section 12.5.3). Malformed list elements are ignored, and of
/// duplicates the first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// By [`Coding::ALL`], in thousandths.
    codings: [Option<u16>; 3],
    identity: Option<u16>,
    any: Option<u16>,
}

impl Accepted {
    /// `None` without the field: every coding is acceptable then, and the uncompressed file is the safest choice.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(ACCEPT_ENCODING).iter().peekable();
        values.peek()?;
        let mut accepted = Self::default();
        for value in values {
            accepted.read(value.as_bytes());
        }
        Some(accepted)
    }

    pub(crate) fn read(&mut self, value: &[u8]) {
        for element in value.split(|byte| *byte == b',') {
            let mut parts = element.splitn(2, |byte| *byte == b';');
            let name = parts.next().unwrap_or_default().trim_ascii();
            let Some(weight) = parts.next().map_or(Some(1000), parameter) else {
                continue;
            };
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            let place = if is("br") {
                &mut self.codings[0]
            } else if is("zstd") {
                &mut self.codings[1]
            } else if is("gzip") || is("x-gzip") {
                // RFC 9110, section 8.4.1.3.
                &mut self.codings[2]
            } else if is("identity") {
                &mut self.identity
            } else if is("*") {
                &mut self.any
            } else {
                continue;
            };
            place.get_or_insert(weight);
        }
    }

    /// The codings to look for, the best one first: the accepted ones whose weight is not lower than that of
    /// `identity`.
    pub(crate) fn preferred(&self) -> impl Iterator<Item = Coding> {
        let mut liked: Vec<(u16, Coding)> = Vec::new();
        for (coding, weight) in Coding::ALL.into_iter().zip(self.codings) {
            let weight = weight.or(self.any).unwrap_or(0);
            if weight > 0 && weight >= self.identity.unwrap_or(0) {
                liked.push((weight, coding));
            }
        }
        // A stable sort: our order decides between equal weights.
        liked.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        liked.into_iter().map(|(_, coding)| coding)
    }

    /// Whether the uncompressed file is acceptable.
    pub(crate) fn identity(&self) -> bool {
        self.identity.or(self.any) != Some(0)
    }
}

/// ` q=0.5 ` in thousandths (RFC 9110, section 12.4.2).
fn parameter(text: &[u8]) -> Option<u16> {
    let text = text.trim_ascii();
    let value = text
        .strip_prefix(b"q=")
        .or_else(|| text.strip_prefix(b"Q="))?;
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] => (whole, fraction),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = [100, 10, 1]
        .into_iter()
        .zip(fraction)
        .map(|(place, digit)| place * u16::from(digit - b'0'))
        .sum();
    match (whole, thousandths) {
        (b'0', thousandths) => Some(thousandths),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(value: &str) -> (Vec<&'static str>, bool) {
        let mut accepted = Accepted::default();
        accepted.read(value.as_bytes());
        let names = accepted.preferred().map(Coding::name).collect();
        (names, accepted.identity())
    }

    #[test]
    fn the_client_s_weights_come_before_our_order() {
        assert_eq!(
            accepted("gzip, deflate, br, zstd").0,
            ["br", "zstd", "gzip"]
        );
        assert_eq!(accepted("br;q=0.5, gzip").0, ["gzip", "br"]);
        assert_eq!(accepted("X-GZIP ; Q=0.001").0, ["gzip"]);
        assert_eq!(accepted("*;q=0.3, zstd;q=0.9").0, ["zstd", "br", "gzip"]);
        assert_eq!(accepted("*, br;q=0").0, ["zstd", "gzip"]);
        assert_eq!(accepted("gzip;q=0, gzip").0, [""; 0]);
        assert_eq!(accepted("").0, [""; 0]);
    }

    #[test]
    fn identity_is_acceptable_unless_it_is_excluded() {
        assert!(accepted("").1);
        assert!(accepted("gzip").1);
        assert!(accepted("*;q=0, identity;q=0.1").1);
        assert!(!accepted("gzip, identity;q=0").1);
        assert!(!accepted("gzip, *;q=0").1);
        assert!(!accepted("identity;q=0.000").1);
    }

    #[test]
    fn a_coding_that_is_less_liked_than_identity_is_not_sent() {
        assert_eq!(accepted("identity, gzip;q=0.5, br").0, ["br"]);
        assert_eq!(accepted("identity;q=0.5, gzip;q=0.5").0, ["gzip"]);
    }

    #[test]
    fn malformed_weights_are_ignored() {
        for weight in [
            "q",
            "q=",
            "q=2",
            "q=1.1",
            "q=1.001",
            "q=0.1234",
            "q=.5",
            "q=-1",
            "q=0.5;x=y",
            "q = 1",
            "x=1",
            "",
            "q=0.a",
        ] {
            assert_eq!(accepted(&format!("gzip;{weight}")).0, [""; 0], "{weight}");
        }
    }
}
