//! The components that the tests serve, built with this crate: the guests of `guests/`, and the
//! walkthrough's `example` in both of the ways that the README shows.

use std::path::{Path, PathBuf};

/// The guest of this name, one of `guests/examples/NAME.rs`.
///
/// # Panics
///
/// When there is no such guest.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    let path = Path::new(env!("GUESTS")).join(format!("{name}.wasm"));
    assert!(
        path.is_file(),
        "there is no guest {name}: {} is missing",
        path.display()
    );
    path
}

/// The names of all guests, sorted.
#[must_use]
pub fn guests() -> Vec<&'static str> {
    env!("GUEST_NAMES").split(',').collect()
}

/// The example, built for `wasm32-wasip2`, which makes it a component.
#[must_use]
pub fn example() -> PathBuf {
    env!("EXAMPLE").into()
}

/// The example, built for `wasm32-wasip1` and made a component with the adapter.
#[must_use]
pub fn example_adapted() -> PathBuf {
    env!("EXAMPLE_ADAPTED").into()
}

/// The example, built for `wasm32-wasip1`: a core module, and no component.
#[must_use]
pub fn example_core_module() -> PathBuf {
    env!("EXAMPLE_CORE_MODULE").into()
}
