//! Text from configurations, clients and files: quoted safely in messages, and percent-encoding.
//!
//! - [`excerpt()`] is the form in which error messages and log lines quote such text.
//! - [`percent`] is the workspace's only percent-encoder and percent-decoder.
//!
//! This crate does not know what the text means. It has no dependencies.

mod excerpt;
pub mod percent;

pub use excerpt::excerpt;
