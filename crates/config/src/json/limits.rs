//! The limits of a text, which bound the stack and the memory that it takes to read.

/// How deep arrays and objects may be nested, which bounds the parser's stack. The same as in FreeUnit.
pub const MAX_DEPTH: usize = 100;

/// How many elements an array, or members an object, may have, which bounds the memory that a short text takes.
/// The same as in FreeUnit.
pub const MAX_ELEMENTS: usize = 100_000;
