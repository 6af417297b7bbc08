//! The two schemas and their migrations.

use refinery::Runner;

mod state {
    refinery::embed_migrations!("../../migrations/state");
}
mod telemetry {
    refinery::embed_migrations!("../../migrations/telemetry");
}

/// Which of the two schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// `vehicles` and its view.
    State,
    /// `telemetry` and `dead_letters`.
    Telemetry,
}

impl Schema {
    /// Its migrations.
    pub(crate) fn runner(self) -> Runner {
        let mut runner = match self {
            Self::State => state::migrations::runner(),
            Self::Telemetry => telemetry::migrations::runner(),
        };
        runner.set_migration_table_name(self.history());
        runner
    }

    /// The table that records which migrations were applied.
    pub(crate) fn history(self) -> &'static str {
        match self {
            Self::State => "fleet_state_migrations",
            Self::Telemetry => "fleet_telemetry_migrations",
        }
    }
}
