//! Responses, by whatever they were made.

mod body;
mod end_delay;
pub(crate) mod head;
pub(crate) mod page;
mod proxied;

pub(crate) use body::ResponseBody;
#[cfg(test)]
pub(crate) use end_delay::EndDelay;
pub(crate) use proxied::Proxied;
