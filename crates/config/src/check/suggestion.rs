//! "Did you mean": the known name nearest to an unknown one.

/// Longer names are nobody's slip of the finger.
const LONGEST: usize = 64;

/// The one known name that `name` was probably meant to be.
///
/// The distance counts inserted, removed, replaced and swapped neighbouring
/// bytes. It must be at most 2 or a third of `name`, at most half of the
/// shorter of the two names (else every short name would be near), and smaller
/// than that of any other known name. These are FreeUnit's rules.
pub(super) fn nearest(
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let mut by_distance: Vec<_> = known
        .filter_map(|known| Some((distance(name, known)?, known)))
        .collect();
    by_distance.sort_by_key(|&(distance, _)| distance);
    let &(best, found) = by_distance.first()?;
    let unambiguous = by_distance.get(1).is_none_or(|&(second, _)| best < second);
    let shorter = name.len().min(found.len());
    (unambiguous && best <= (name.len() / 3).max(2) && best * 2 <= shorter).then_some(found)
}

fn distance(from: &str, to: &str) -> Option<usize> {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    if from.len().max(to.len()) > LONGEST {
        return None;
    }
    // Row `i` holds the distances of the first `i` bytes of `from` to every
    // start of `to`.
    let mut before_last = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i; to.len() + 1];
        for j in 1..=to.len() {
            let replaced = last[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            row[j] = replaced.min(row[j - 1] + 1).min(last[j] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
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
    fn two_equally_near_names_make_no_suggestion() {
        assert_eq!(nearest("hooks", ["hook1", "hook2"].into_iter()), None);
    }
}
