use crate::variable::Variables;
use crate::{Match, Request};

/// How many actions a request may go through until it is answered with 500: each step of a route that
/// passes it on, to other routes or to its own, is one.
pub const MAX_ACTIONS: usize = 256;

/// An array of steps. What an action is, is for others to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<A> {
    steps: Vec<(Match, A)>,
}

impl<A> Route<A> {
    /// These steps, in this order.
    pub fn new(steps: impl IntoIterator<Item = (Match, A)>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
        }
    }

    /// The first step that the request matches: its index, and its action. `None` is a 404.
    pub fn select<V: Variables + ?Sized>(
        &self,
        request: &Request<'_>,
        variables: &V,
    ) -> Option<(usize, &A)> {
        let mut steps = self.steps.iter().enumerate();
        let found = steps.find(|(_, (tests, _))| tests.matches(request, variables));
        found.map(|(index, (_, action))| (index, action))
    }

    /// All steps, in order.
    pub fn steps(&self) -> &[(Match, A)] {
        &self.steps
    }
}

impl<A> Default for Route<A> {
    fn default() -> Self {
        Self { steps: Vec::new() }
    }
}
