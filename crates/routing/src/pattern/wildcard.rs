//! Patterns with `*`.

/// A pattern with at least one `*`.
#[derive(Clone, Debug)]
pub(super) struct Wildcard {
    begin: Box<[u8]>,
    /// Parts that have to occur in this order, without overlap. None of them is empty.
    middle: Box<[Box<[u8]>]>,
    end: Box<[u8]>,
    ignore_case: bool,
}

impl Wildcard {
    /// `parts` is the text between the asterisks: at least two parts, which may be empty.
    pub(super) fn new(mut parts: Vec<Box<[u8]>>, ignore_case: bool) -> Self {
        let end = parts.pop().unwrap_or_default();
        let mut parts = parts.into_iter();
        Self {
            begin: parts.next().unwrap_or_default(),
            middle: parts.filter(|part| !part.is_empty()).collect(),
            end,
            ignore_case,
        }
    }

    /// The prefix that all matching values have.
    pub(super) fn prefix(&self) -> &[u8] {
        if self.ignore_case { b"" } else { &self.begin }
    }

    pub(super) fn matches(&self, value: &[u8]) -> bool {
        // The end must not overlap the beginning: `/bla*bla` does not match `/bla`.
        let Some((begin, rest)) = value.split_at_checked(self.begin.len()) else {
            return false;
        };
        let Some(length) = rest.len().checked_sub(self.end.len()) else {
            return false;
        };
        let (mut rest, end) = rest.split_at(length);
        if !self.equal(begin, &self.begin) || !self.equal(end, &self.end) {
            return false;
        }
        // Greedy and without backtracking: the first occurrence of a part leaves the most text for the next.
        for part in &self.middle {
            match self.find(rest, part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }

    fn find(&self, text: &[u8], part: &[u8]) -> Option<usize> {
        text.windows(part.len())
            .position(|window| self.equal(window, part))
    }

    fn equal(&self, text: &[u8], part: &[u8]) -> bool {
        if self.ignore_case {
            text.eq_ignore_ascii_case(part)
        } else {
            text == part
        }
    }
}
