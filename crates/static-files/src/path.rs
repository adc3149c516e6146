//! Expanded paths, with the check against path traversal by variables, and `chroot`.

/// A path of `share`, or a `chroot`, with its variables expanded. It records which parts came from variables, to
/// detect path traversal.
///
/// A `..` segment of which a part came from a variable could leave the folder that the configuration names, and is
/// refused with 403. `$uri` has no such segments, since it is normalised; but `$arg_…`, `$header_…` and
/// `$cookie_…` can have them, and Unit follows them. `..` segments of the configuration itself are followed.
///
/// ```
/// use static_files::ExpandedPath;
///
/// let path = ExpandedPath::new().literal("/www/").variable("example.com").literal("/static");
/// assert_eq!(path.as_bytes(), b"/www/example.com/static");
/// assert!(!path.climbs());
/// assert!(ExpandedPath::new().literal("/www/.").variable("./secret").climbs());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpandedPath {
    bytes: Vec<u8>,
    /// Whether the last segment, which may still grow, has bytes from a variable.
    expanded: bool,
    /// Whether a segment before the last one climbs.
    climbs: bool,
}

impl ExpandedPath {
    /// The empty path.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends text of the configuration.
    #[must_use]
    pub fn literal(self, text: impl AsRef<[u8]>) -> Self {
        self.push(text.as_ref(), false)
    }

    /// Appends the value of a variable.
    #[must_use]
    pub fn variable(self, value: impl AsRef<[u8]>) -> Self {
        self.push(value.as_ref(), true)
    }

    /// The path to open.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it contains path traversal: a `..` segment that came from a variable, at least in part.
    #[must_use]
    pub fn climbs(&self) -> bool {
        self.climbs || self.last_segment_climbs()
    }

    fn push(mut self, text: &[u8], expanded: bool) -> Self {
        let mut rest = text;
        while let Some(slash) = rest.iter().position(|byte| *byte == b'/') {
            let (segment, after) = rest.split_at(slash);
            self.extend(segment, expanded);
            self.climbs |= self.last_segment_climbs();
            self.bytes.push(b'/');
            self.expanded = false;
            rest = &after[1..];
        }
        self.extend(rest, expanded);
        self
    }

    fn extend(&mut self, part: &[u8], expanded: bool) {
        self.expanded |= expanded && !part.is_empty();
        self.bytes.extend_from_slice(part);
    }

    fn last_segment_climbs(&self) -> bool {
        self.expanded && (self.bytes == b".." || self.bytes.ends_with(b"/.."))
    }
}

/// The part of `share` below `chroot`, compared as texts in which adjacent slashes count as one. `None` if it is
/// not below.
///
/// As in Unit, nothing else is normalised: `/www/./a` is not below `/www/a`, and `chroot` is not below itself.
pub(crate) fn below<'a>(chroot: &[u8], share: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = share;
    if chroot.first() == Some(&b'/') {
        rest = rest.strip_prefix(b"/")?;
    } else if rest.first() == Some(&b'/') {
        return None;
    }
    for segment in chroot.split(|byte| *byte == b'/') {
        if segment.is_empty() {
            continue;
        }
        rest = trim_slashes(rest).strip_prefix(segment)?;
        if rest.first() != Some(&b'/') {
            return None;
        }
    }
    let rest = trim_slashes(rest);
    (!rest.is_empty()).then_some(rest)
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    &path[slashes..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_traversal_is_only_dots_that_came_from_a_variable() {
        let path = ExpandedPath::new;
        assert!(!path().literal("/a/../b").variable("/c").climbs());
        assert!(!path().literal("/a/..").variable("/c").climbs());
        assert!(!path().literal("/a/..").variable("").literal("/c").climbs());
        assert!(!path().literal("/a").variable("/...").climbs());
        assert!(!path().literal("/a").variable("/..c/d..").climbs());
        assert!(!path().literal("/a.").variable(".").climbs());
        assert!(!path().literal("/a/").variable(".").climbs());
        assert!(path().variable("..").climbs());
        assert!(path().literal("/a").variable("/..").climbs());
        assert!(path().literal("/a/").variable("../b").climbs());
        assert!(path().literal("/a/.").variable(".").climbs());
        assert!(path().literal("/a/").variable(".").literal("./b").climbs());
        assert!(path().variable("b/..").literal("/c").climbs());
        assert!(!path().variable("b/..").literal("c").climbs());
    }

    #[test]
    fn a_share_is_below_its_chroot_at_a_slash() {
        let below = |chroot: &'static str, share: &'static str| {
            below(chroot.as_bytes(), share.as_bytes())
                .map(|rest| std::str::from_utf8(rest).unwrap())
        };
        assert_eq!(below("/www", "/www/a"), Some("a"));
        assert_eq!(below("/www/", "/www/a/"), Some("a/"));
        assert_eq!(below("//www///", "/www/////a//b"), Some("a//b"));
        assert_eq!(below("/www//x/", "///www/x//a"), Some("a"));
        assert_eq!(below("/", "/a"), Some("a"));
        assert_eq!(below(".", "./a"), Some("a"));
        assert_eq!(below("/www", "/www"), None);
        assert_eq!(below("/www", "/www/"), None);
        assert_eq!(below("/www/", "/www"), None);
        assert_eq!(below("/www", "/wwwx/a"), None);
        assert_eq!(below("/www", "/ww"), None);
        assert_eq!(below("/www", "www/a"), None);
        assert_eq!(below("www", "/www/a"), None);
        assert_eq!(below(".", ".a"), None);
        assert_eq!(below("/www/a", "/www/./a/b"), None);
        assert_eq!(below("/www", ""), None);
    }
}
