//! Failures without their detail, as they are counted and named in statistics.

/// A [`Failure`](crate::Failure) without its detail, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// [`Failure::Trap`](crate::Failure::Trap)
    Trap,
    /// [`Failure::Exit`](crate::Failure::Exit)
    Exit,
    /// [`Failure::NoResponse`](crate::Failure::NoResponse)
    NoResponse,
    /// [`Failure::ErrorCode`](crate::Failure::ErrorCode)
    ErrorCode,
    /// [`Failure::InterimStatus`](crate::Failure::InterimStatus)
    InterimStatus,
    /// [`Failure::Broken`](crate::Failure::Broken), and responses cut off for the same reasons after their heads
    /// were sent.
    Broken,
    /// [`Failure::Timeout`](crate::Failure::Timeout)
    Timeout,
    /// [`Failure::ExecutionTimeout`](crate::Failure::ExecutionTimeout)
    ExecutionTimeout,
    /// [`Failure::Lost`](crate::Failure::Lost)
    Lost,
    /// [`Failure::Busy`](crate::Failure::Busy)
    Busy,
    /// [`Failure::Instantiate`](crate::Failure::Instantiate)
    Instantiate,
    /// [`Failure::Request`](crate::Failure::Request)
    Request,
    /// [`Failure::Panic`](crate::Failure::Panic)
    Panic,
}

impl FailureKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; Self::Panic as usize + 1] = [
        Self::Trap,
        Self::Exit,
        Self::NoResponse,
        Self::ErrorCode,
        Self::InterimStatus,
        Self::Broken,
        Self::Timeout,
        Self::ExecutionTimeout,
        Self::Lost,
        Self::Busy,
        Self::Instantiate,
        Self::Request,
        Self::Panic,
    ];

    /// The name in statistics, in lower case with underscores.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Exit => "exit",
            Self::NoResponse => "no_response",
            Self::ErrorCode => "error_code",
            Self::InterimStatus => "interim_status",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::ExecutionTimeout => "execution_timeout",
            Self::Lost => "lost",
            Self::Busy => "busy",
            Self::Instantiate => "instantiate",
            Self::Request => "request",
            Self::Panic => "panic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_each_kind_is_its_discriminant() {
        for (index, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{kind:?}");
        }
    }
}
