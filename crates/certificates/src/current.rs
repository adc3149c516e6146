//! The bundles that are in use, shared by the store that changes them and the listeners that present them.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::Certificates;

/// The bundles that are in use. Clones are handles to the same ones.
#[derive(Clone, Debug, Default)]
pub struct CurrentCertificates(Arc<ArcSwap<Certificates>>);

impl CurrentCertificates {
    /// The current bundles. Never waits.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Certificates> {
        self.0.load_full()
    }

    /// Replaces all of them.
    pub fn set(&self, certificates: Arc<Certificates>) {
        self.0.store(certificates);
    }
}
