//! The steps of a route, and the selection of the first one that matches.

use crate::prefilter::{Prefilter, PrefilterInput};
use crate::variable::Variables;
use crate::{Match, Request};

/// How many actions a request may take before it is answered with 500: a limit on `pass` in circles. Each
/// step that passes the request on, to another or the same route, is one action.
pub const MAX_ACTIONS: usize = 256;

/// An array of steps. `A` is the action, which the caller defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<A> {
    steps: Vec<(Match, A)>,
    /// One for each step. Apart from the steps, so that they are adjacent in memory.
    prefilters: Box<[Prefilter]>,
}

impl<A> Route<A> {
    /// A route of these steps.
    pub fn new(steps: impl IntoIterator<Item = (Match, A)>) -> Self {
        let steps: Vec<_> = steps.into_iter().collect();
        let prefilters = steps
            .iter()
            .map(|(tests, _)| Prefilter::of(tests))
            .collect();
        Self { steps, prefilters }
    }

    /// The index and the action of the first step that matches the request. `None` means 404.
    pub fn select<V: Variables + ?Sized>(
        &self,
        request: &Request<'_>,
        variables: &V,
    ) -> Option<(usize, &A)> {
        let input = PrefilterInput::of(request);
        let mut steps = self.prefilters.iter().zip(&self.steps).enumerate();
        let found = steps.find(|(_, (prefilter, (tests, _)))| {
            prefilter.admits(&input) && tests.matches(request, variables)
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
