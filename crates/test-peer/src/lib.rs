//! What the tests of requests to other servers share: servers that are sockets, and bodies that are
//! written piece by piece. A test waits for conditions, with a deadline.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue must fail")]

mod bodies;
mod fake;
mod reading;
mod waiting;

pub use bodies::{Pieces, Writer, full, pieces, written};
pub use fake::{Fake, HELLO};
pub use reading::{read_head, read_rest, read_to, write};
pub use waiting::{LONG, SHORT, until, within};
