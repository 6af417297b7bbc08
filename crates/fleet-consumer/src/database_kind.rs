//! Which of the two databases is meant.

/// The two databases that each batch is written to. They may be one server and share a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// The database of `vehicles`.
    State,
    /// The database of `telemetry` and `dead_letters`.
    Telemetry,
}

impl DatabaseKind {
    /// Both of them.
    pub(crate) const ALL: [Self; 2] = [Self::State, Self::Telemetry];

    /// The value of the label `side`, in metrics and in log lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Telemetry => "telemetry",
        }
    }
}
