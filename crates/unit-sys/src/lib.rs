//! Declarations of what a language module uses of NGINX Unit: libunit, the module's entry in
//! Unit's table, and the reading of its configuration.
//!
//! They are made by bindgen from the headers of the Unit tree that this is built against, and
//! libunit is linked from that tree's `build/src/nxt_unit.o`. There is nothing else here: who owns
//! what, and what may be called when, is the business of the crate above.
//!
//! The tree is the one that `UNIT_SRC` names. Without that it is the folder above this repository,
//! then `../unit`, then `/usr/src/unit`.

#![expect(
    non_camel_case_types,
    non_upper_case_globals,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    reason = "the names and the form are C's and bindgen's"
)]

include!(concat!(env!("OUT_DIR"), "/unit.rs"));
