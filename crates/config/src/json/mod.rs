//! Unit's dialect of JSON.
//!
//! It is RFC 8259 with these differences, all of them Unit's:
//!
//! | more | less |
//! | --- | --- |
//! | a comma after the last member or element | a member name must not come twice in an object |
//! | `//` comments, ended by a line feed (not by the end of the text) | numbers have at most 14 characters and a magnitude below 2⁶³ |
//! | `/* */` comments | at most [`MAX_DEPTH`] levels, [`MAX_ELEMENTS`] elements each |
//! | a byte order mark at the start | |
//!
//! Unlike Unit, strings must be UTF-8 (comments need not be), and `-01` is no
//! number: Unit takes both, and what it then gives back is not JSON.

mod error;
mod limits;
mod parser;
mod printer;
mod string;

pub use error::{JsonError, JsonErrorKind, Location, Position};
pub use limits::{MAX_DEPTH, MAX_ELEMENTS};
pub use parser::{locate, parse};
pub use printer::{print, print_pretty};
