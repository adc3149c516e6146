use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Bundle;

/// All bundles by their names, as they are at one time. A later change makes another one.
#[derive(Clone, Debug, Default)]
pub struct Certificates(BTreeMap<String, Arc<Bundle>>);

impl Certificates {
    /// The bundle of this name. Upper and lower case differ.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Bundle>> {
        self.0.get(name)
    }

    /// All bundles, in the order of their names. (Unit's order is that of a hash table.)
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Arc<Bundle>)> {
        self.0.iter().map(|(name, bundle)| (name.as_str(), bundle))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with this bundle, in the place of another one of its name.
    pub(crate) fn with(&self, name: &str, bundle: Arc<Bundle>) -> Self {
        let mut bundles = self.0.clone();
        bundles.insert(name.to_owned(), bundle);
        Self(bundles)
    }

    /// The same without the bundle of this name.
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
