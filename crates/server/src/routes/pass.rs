//! What a `pass` names.

use engine::Application;
use proxy::Proxy;
use routing::{Template, VariableKind};

use super::metrics::Metrics;

/// What answers a request that is passed.
#[derive(Clone)]
pub enum Pass {
    /// An application; `None` is one that is not served for now, for which the answer is 503.
    Application(Option<Application>),
    /// Other servers.
    Upstream(Proxy),
    /// The server's own counters.
    Metrics(Metrics),
    /// The steps at this index of the [`Table`](super::Table); 404 if the table has none.
    Steps(usize),
    /// What the template names, expanded for each request; 404 if it names nothing.
    Variable(Template),
}

impl Pass {
    /// Whether a variable of this kind is in it.
    pub(crate) fn mentions(&self, kind: VariableKind) -> bool {
        match self {
            Self::Variable(template) => template.mentions(kind),
            Self::Application(_) | Self::Upstream(_) | Self::Metrics(_) | Self::Steps(_) => false,
        }
    }
}
