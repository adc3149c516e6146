//! The components that the tests serve, built with this crate: the guests of `guests/`, and the
//! walkthrough's `example` in both of the ways that the README shows.

use std::path::{Path, PathBuf};

/// The worlds that there are guests for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum World {
    /// `wasi:http/proxy` of WASI 0.2.
    #[default]
    Wasi02,
    /// `wasi:http/service` of WASI 0.3.
    Wasi03,
}

impl World {
    /// The folder of its guests.
    #[must_use]
    pub fn folder(self) -> &'static Path {
        Path::new(match self {
            Self::Wasi02 => env!("GUESTS"),
            Self::Wasi03 => env!("GUESTS_03"),
        })
    }

    /// The names of its guests, sorted.
    #[must_use]
    pub fn guests(self) -> Vec<&'static str> {
        let names = match self {
            Self::Wasi02 => env!("GUEST_NAMES"),
            Self::Wasi03 => env!("GUEST_NAMES_03"),
        };
        names.split(',').collect()
    }

    /// Whether there is a guest of this name.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.guests().contains(&name)
    }

    /// Its guest of this name: one of `guests/examples/NAME.rs`, or `guests/wasi-0.3/examples/NAME.rs`.
    ///
    /// # Panics
    ///
    /// When there is no such guest.
    #[must_use]
    pub fn guest(self, name: &str) -> PathBuf {
        let path = self.folder().join(format!("{name}.wasm"));
        assert!(
            path.is_file(),
            "there is no guest {name}: {} is missing",
            path.display()
        );
        path
    }
}

/// The guest of this name, for WASI 0.2.
///
/// # Panics
///
/// When there is no such guest.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    World::Wasi02.guest(name)
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
