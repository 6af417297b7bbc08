//! The databases: current state, telemetry, dead letters, migrations.
//!
//! The only code that speaks PostgreSQL. State and telemetry may be one database or two; they are always two
//! transactions, and each remembers which batches it holds ([`Part`]), in the transaction that stored them. With the
//! natural keys of the rows that makes every redelivery harmless.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they block and panic: its callers print")]

mod cancel;
mod composite;
mod connector;
mod database;
mod dead_letters;
mod error;
mod migrations;
mod options;
mod replay;
mod retention;
mod roles;
mod session;
mod settled;
mod sqlstate;
mod state;
mod telemetry;
mod timestamp;
mod tls;
mod trace;
mod track;
mod unstored;
mod vehicles;
mod witness;

pub use database::{Database, PoolUsage};
pub use dead_letters::{
    DeadLetterFilter, DeadLetterKey, DeadLetterTotals, DeadMessage, StoredDeadLetter, count_dead_letters,
    count_dead_messages, dead_letter_totals, dead_letters, dead_messages, forget_dead_messages,
    purge_dead_letters, telemetry_now,
};
pub use error::{ErrorClass, SESSION_RETRIES, StoreError};
pub use migrations::{Schema, migrate, missing_migrations};
pub use options::DatabaseOptions;
pub use replay::{
    Correction, Derived, EventKey, PageBounds, StoredTelemetry, Window, correct_telemetry, telemetry_page,
    telemetry_windows,
};
pub use retention::{Expired, RetentionPeriods, expire};
pub use settled::{Part, SettledTotals, settled_totals};
pub use state::{StateStore, VehicleState};
pub use telemetry::{Appended, DeadLetter, TelemetryRow, TelemetryStore};
pub use trace::{
    Observed, TracedEvent, TracedEvents, UnstoredMessage, events_of_message, message_of_event,
    unstored_message,
};
pub use track::{StoredVehicleEvent, events_behind, newest_events};
pub use unstored::EmptyMessage;
pub use vehicles::{StoredVehicle, stored_vehicles};
pub use witness::{QueueWitness, WitnessStore};

/// Every statement the hot path prepares, for the test that prepares each against the migrated schema.
pub mod statements {
    pub use crate::settled::{SETTLED_STATE_PARTS, SETTLED_TELEMETRY_PARTS};
    pub use crate::state::{UNKNOWN_VEHICLES, raise_state, store_state};
    pub use crate::telemetry::{BURY_DEAD_LETTERS, STORE_TELEMETRY};
    pub use crate::unstored::NOTE_EMPTY_MESSAGES;
    pub use crate::witness::{NOTE_WITNESS, READ_WITNESSES};
}
