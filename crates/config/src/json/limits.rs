//! The limits of a text, which bound the stack and the memory that it takes to read.

/// How many arrays and objects may lie in each other. It bounds the stack that
/// a text can use up; the same as in FreeUnit.
pub const MAX_DEPTH: usize = 100;

/// How many elements an array, and members an object, may have. It bounds what
/// a short text can make of memory; the same as in FreeUnit.
pub const MAX_ELEMENTS: usize = 100_000;
