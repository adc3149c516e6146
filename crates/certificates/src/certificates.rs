//! An immutable set of bundles, by their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Bundle;

/// A snapshot of all bundles, by name. A change creates a new snapshot.
#[derive(Clone, Debug, Default)]
pub struct Certificates(BTreeMap<String, Arc<Bundle>>);

impl Certificates {
    /// The bundle with this name, which is case-sensitive.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Bundle>> {
        self.0.get(name)
    }

    /// All bundles, sorted by name. (Unit's order is that of a hash table.)
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Arc<Bundle>)> {
        self.0.iter().map(|(name, bundle)| (name.as_str(), bundle))
    }

    /// The number of bundles.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no bundle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy with this bundle, which replaces one with the same name.
    pub(crate) fn with(&self, name: &str, bundle: Arc<Bundle>) -> Self {
        let mut bundles = self.0.clone();
        bundles.insert(name.to_owned(), bundle);
        Self(bundles)
    }

    /// A copy without the bundle of this name.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut bundles = self.0.clone();
        bundles.remove(name);
        Self(bundles)
    }
}

impl FromIterator<(String, Arc<Bundle>)> for Certificates {
    fn from_iter<I: IntoIterator<Item = (String, Arc<Bundle>)>>(bundles: I) -> Self {
        Self(bundles.into_iter().collect())
    }
}
