//! Why a response's body ends early, after its head was sent. Failures before that are
//! [`Failure`](crate::Failure)s.

/// Why a response's body is incomplete. The caller, who sends the body on, must make that visible to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CutOff {
    /// The guest failed, most often by a trap.
    #[error("the guest failed before its body was finished")]
    Failed,
    /// The guest dropped its body, or finished it with less than it had announced.
    #[error("the guest dropped its body unfinished, or it is shorter than its content-length")]
    Dropped,
    /// The guest returned without finishing its body.
    #[error("the guest returned without finishing its body")]
    Unfinished,
    /// The guest wrote more than it had announced.
    #[error("the guest's body is longer than its content-length")]
    TooLong,
}
