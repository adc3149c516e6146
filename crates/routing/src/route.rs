use crate::guard::{Guard, Guarded};
use crate::variable::Variables;
use crate::{Match, Request};

/// How many actions a request may go through until it is answered with 500: each step of a route that
/// passes it on, to other routes or to its own, is one.
pub const MAX_ACTIONS: usize = 256;

/// An array of steps. What an action is, is for others to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<A> {
    steps: Vec<(Match, A)>,
    /// One for each step.
    guards: Box<[Guard]>,
}

impl<A> Route<A> {
    /// These steps, in this order.
    pub fn new(steps: impl IntoIterator<Item = (Match, A)>) -> Self {
        let steps: Vec<_> = steps.into_iter().collect();
        let guards = steps.iter().map(|(tests, _)| Guard::of(tests)).collect();
        Self { steps, guards }
    }

    /// The first step that the request matches: its index, and its action. `None` is a 404.
    pub fn select<V: Variables + ?Sized>(
        &self,
        request: &Request<'_>,
        variables: &V,
    ) -> Option<(usize, &A)> {
        let guarded = Guarded::of(request);
        let mut steps = self.guards.iter().zip(&self.steps).enumerate();
        let found = steps.find(|(_, (guard, (tests, _)))| {
            guard.admits(&guarded) && tests.matches(request, variables)
        });
        found.map(|(index, (_, (_, action)))| (index, action))
    }

    /// All steps, in order.
    pub fn steps(&self) -> &[(Match, A)] {
        &self.steps
    }
}

impl<A> Default for Route<A> {
    fn default() -> Self {
        Self::new([])
    }
}
