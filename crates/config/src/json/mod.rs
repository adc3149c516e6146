//! Unit's dialect of JSON.
//!
//! RFC 8259 with these differences, all of them Unit's:
//!
//! - Accepted: a comma after the last member or element; `/* */` comments, and `//` comments that end with a line
//!   feed (not with the end of the text); a byte order mark at the start.
//! - Refused: duplicate member names; numbers of more than 14 characters or a magnitude from 2⁶³; more than
//!   [`MAX_DEPTH`] levels, or [`MAX_ELEMENTS`] elements in one array or object.
//!
//! Unlike in Unit, strings must be UTF-8 (comments need not be), and `-01` is refused: Unit accepts both, and then
//! returns invalid JSON.

mod error;
mod limits;
mod parser;
mod printer;
mod string;

pub use error::{JsonError, JsonErrorKind, Location, Position};
pub use limits::{MAX_DEPTH, MAX_ELEMENTS};
pub use parser::{locate, parse};
pub use printer::{print, print_pretty};
