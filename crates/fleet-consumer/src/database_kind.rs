//! Which of the two databases is meant.

/// The two databases that each batch is written to. They may be one server and share a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DatabaseKind {
    /// The database of `vehicles`.
    State,
    /// The database of `telemetry` and `dead_letters`.
    Telemetry,
}

impl DatabaseKind {
    /// The value of the label `side`, in metrics and in log lines.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}
