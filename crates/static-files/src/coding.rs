use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// A content coding that a file may have a sibling in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Brotli,
    Zstandard,
    Gzip,
}

impl Coding {
    /// What is preferred where the client likes several as much: what is smallest, mostly.
    pub(crate) const ALL: [Self; 3] = [Self::Brotli, Self::Zstandard, Self::Gzip];

    /// The name in `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What the sibling's name ends in.
    pub(crate) fn suffix(self) -> &'static [u8] {
        match self {
            Self::Brotli => b".br",
            Self::Zstandard => b".zst",
            Self::Gzip => b".gz",
        }
    }
}

/// Which codings a client takes (RFC 9110, section 12.5.3).
///
/// A list element that breaks the grammar is as good as not there. Of an element that is there
/// twice, the first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// By [`Coding::ALL`], in thousandths.
    codings: [Option<u16>; 3],
    identity: Option<u16>,
    any: Option<u16>,
}

impl Accepted {
    /// None without the field: any coding would do then, and the file as it is, is the safest.
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

    /// The codings to look for, the best one first: those that are accepted, and no less liked than
    /// the file as it is.
    pub(crate) fn preferred(&self) -> impl Iterator<Item = Coding> {
        let mut liked: Vec<(u16, Coding)> = Vec::new();
        for (coding, weight) in Coding::ALL.into_iter().zip(self.codings) {
            let weight = weight.or(self.any).unwrap_or(0);
            if weight > 0 && weight >= self.identity.unwrap_or(0) {
                liked.push((weight, coding));
            }
        }
        // Stable: of equals, ours counts.
        liked.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        liked.into_iter().map(|(_, coding)| coding)
    }

    /// Whether the file may be sent as it is.
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
    fn weights_that_are_none_are_as_good_as_not_there() {
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
