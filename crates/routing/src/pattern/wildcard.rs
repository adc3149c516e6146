/// A pattern with at least one `*`: how a value begins, what it has in between, and how it ends.
#[derive(Clone, Debug)]
pub(super) struct Wildcard {
    begin: Box<[u8]>,
    /// In this order, and without overlap. None of them is empty.
    middle: Box<[Box<[u8]>]>,
    end: Box<[u8]>,
    ignore_case: bool,
}

impl Wildcard {
    /// `parts` is what stands between the asterisks: two parts or more, the first and the last of
    /// which may be empty.
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

    /// What all values that match begin with, to the letter.
    pub(super) fn beginning(&self) -> &[u8] {
        if self.ignore_case { b"" } else { &self.begin }
    }

    pub(super) fn matches(&self, value: &[u8]) -> bool {
        // The end is looked for behind the beginning: `/bla*bla` does not match `/bla`.
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
        // To take each part where it is first found leaves the most for those behind it.
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
