//! Responses: content, head, body, error pages.

mod body;
mod content;
mod end_delay;
pub(crate) mod head;
pub(crate) mod page;

pub(crate) use body::{ResponseBody, ResponseGuards, StreamBody};
pub(crate) use content::Content;
#[cfg(test)]
pub(crate) use end_delay::EndDelay;
