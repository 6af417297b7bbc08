//! Faults that `cargo xtask chaos --plant <fault>` puts into the services, to prove that it would find them.
//!
//! Without the cargo feature `faults`, which nothing but that command enables, [`Failpoint::is_active`] is a constant `false`
//! and the compiler removes what hangs on it. With the feature, the variable [`VARIABLE`] chooses one fault.

/// Names the active failpoint, in a build that can have one.
pub const VARIABLE: &str = "PLANTED_FAULT";

/// A fault, each a promise broken in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failpoint {
    /// The consumer settles a batch before the databases have it.
    AckBeforeCommit,
    /// A redelivered event is another row.
    NoDedupe,
    /// What arrives last wins, not what was observed last.
    ArrivalOrder,
    /// The API answers 200 before Redis has replied.
    PushUnconfirmed,
    /// A batch whose owner died is forgotten.
    DropLease,
    /// Consumers lock vehicles in any order.
    UnsortedUpsert,
}

impl Failpoint {
    /// Every fault.
    pub const ALL: [Self; 6] = [
        Self::AckBeforeCommit,
        Self::NoDedupe,
        Self::ArrivalOrder,
        Self::PushUnconfirmed,
        Self::DropLease,
        Self::UnsortedUpsert,
    ];

    /// Its name on the command line and in [`VARIABLE`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeCommit => "ack-before-commit",
            Self::NoDedupe => "no-dedupe",
            Self::ArrivalOrder => "arrival-order",
            Self::PushUnconfirmed => "push-unconfirmed",
            Self::DropLease => "drop-lease",
            Self::UnsortedUpsert => "unsorted-upsert",
        }
    }

    /// Whether this process has this fault.
    #[cfg(not(feature = "faults"))]
    #[inline]
    #[must_use]
    pub const fn is_active(self) -> bool {
        false
    }

    /// Whether this process has this fault.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn is_active(self) -> bool {
        use std::sync::LazyLock;
        static ACTIVE: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(VARIABLE).ok());
        ACTIVE.as_deref() == Some(self.name())
    }
}
