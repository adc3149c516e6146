//! What a `pass` names.

use engine::Application;
use proxy::Proxy;
use routing::{Template, VariableKind};

use super::metrics::Metrics;

/// Who answers instead.
#[derive(Clone)]
pub enum Pass {
    /// An application; `None` is one that is not served for now, for which the answer is 503.
    Application(Option<Application>),
    /// Other servers.
    Upstream(Proxy),
    /// The server's own counters.
    Metrics(Metrics),
    /// The steps at this index of the [`Table`]; 404 where there are none.
    Steps(usize),
    /// What the template names once it is expanded, for each request anew; 404 where that is
    /// nothing.
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
