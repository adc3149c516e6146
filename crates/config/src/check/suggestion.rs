//! "Did you mean": the known name nearest to an unknown one.

/// The longest name that is compared, in bytes: comparing takes the product of both lengths, and a client
/// chooses one of them.
const MAX_LENGTH: usize = 64;

/// The one known name that `name` was probably meant to be.
///
/// The distance counts characters that are inserted, removed, replaced or swapped with their neighbour
/// (optimal string alignment). It must be at most 2 or a third of `name`, at most half of the shorter of
/// the two names (else every short name would be near), and smaller than that of any other known name.
/// These are FreeUnit's rules.
pub(super) fn nearest(
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    if name.len() > MAX_LENGTH {
        return None;
    }
    let mut by_distance: Vec<_> = known
        .map(|known| (strsim::osa_distance(name, known), known))
        .collect();
    by_distance.sort_by_key(|&(distance, _)| distance);
    let &(best, found) = by_distance.first()?;
    let unambiguous = by_distance.get(1).is_none_or(|&(second, _)| best < second);
    let shorter = name.len().min(found.len());
    (unambiguous && best <= (name.len() / 3).max(2) && best * 2 <= shorter).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let known = ["listeners", "applications", "pass", "tls", "user"];
        let nearest = |name| nearest(name, known.into_iter());
        assert_eq!(nearest("listener"), Some("listeners"));
        assert_eq!(nearest("lsiteners"), Some("listeners"));
        assert_eq!(nearest("prox"), None);
        assert_eq!(nearest("zz"), None);
        assert_eq!(nearest(""), None);
        assert_eq!(nearest(&"x".repeat(1000)), None);
    }

    #[test]
    fn two_equally_near_names_are_not_suggested() {
        assert_eq!(nearest("hooks", ["hook1", "hook2"].into_iter()), None);
    }
}
