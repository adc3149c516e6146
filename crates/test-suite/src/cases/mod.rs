//! The cases, one file for each area.

#![expect(missing_docs, reason = "the names of cases are sentences")]

pub mod failures;
pub mod walkthrough;
