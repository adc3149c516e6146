//! The cases, one file for each area.

#![expect(missing_docs, reason = "the names of cases are sentences")]

pub mod cancellation;
pub mod capabilities;
pub mod failures;
pub mod http1;
pub mod http2;
pub mod instances;
pub mod isolation;
pub mod limits;
pub mod logs;
pub mod outbound;
pub mod streaming;
pub mod walkthrough;
