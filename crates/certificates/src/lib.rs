//! Certificates: read, told of, and kept.

mod bundle;
mod certificates;
mod facts;
mod name;
mod pem;
mod store;

pub use bundle::{Bundle, BundleError, BundleErrorKind};
pub use certificates::Certificates;
pub use facts::{Certificate, KeyKind, Moment, Name, Validity};
pub use name::{NameError, check_name};
pub use pem::Place;
pub use store::{DamageKind, Damaged, PutError, RemoveError, Store, StoreError};
pub use whole_file::{WriteError, Written};

use facts::public_key;

/// A text from outside for a message: escaped, and cut off where it gets long.
fn shown(text: &str) -> String {
    const MOST: usize = 100;
    let mut shown: String = text
        .chars()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}
