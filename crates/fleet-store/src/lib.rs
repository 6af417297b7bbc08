//! The databases: current state, telemetry, dead letters, migrations.
//!
//! The only crate that accesses PostgreSQL. State and telemetry may be one database or two. A batch is always two
//! transactions, one for each. Each transaction also stores which [`Part`] of which batch it contains. Together with
//! the natural keys of the rows, this makes processing idempotent.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they block and panic: its callers print")]

mod cancel;
mod composite;
mod connection;
mod connector;
mod database;
mod dead_letters;
mod deletion;
mod durability;
mod error;
mod error_class;
mod harmless;
mod host_config;
mod hosts;
mod look;
mod migrations;
mod options;
mod page;
mod page_cursor;
mod positions;
mod replay;
mod retention;
mod roles;
mod schema;
mod session;
mod settled;
mod settled_totals;
mod sqlstate;
mod state;
mod telemetry;
mod telemetry_row;
mod timestamp;
mod tls;
mod trace;
mod track;
mod unstored;
mod upsert;
mod vehicle_row;
mod witness;

pub use database::{Database, PoolUsage};
pub use dead_letters::{
    DeadLetterFilter, DeadLetterKey, DeadLetterStore, DeadLetterTotals, DeadMessage, StoredDeadLetter,
};
pub use durability::DatabaseDurability;
pub use error::StoreError;
pub use error_class::{ErrorClass, SESSION_RETRIES};
pub use look::{FoundVehicle, Horizon, Look, Lookout};
pub use migrations::migrate;
pub use options::DatabaseOptions;
pub use page::{Page, PageBounds, StoredTelemetry, Window};
pub use page_cursor::PageCursor;
pub use positions::{TrackBounds, TrackPoint, TrackStore};
pub use replay::Correction;
pub use retention::{Expired, Retention, RetentionPeriods};
pub use schema::Schema;
pub use settled::Part;
pub use settled_totals::SettledTotals;
pub use state::StateStore;
pub use telemetry::{Appended, DeadLetter, TelemetryStore};
pub use telemetry_row::{Derived, EventKey, TelemetryRow};
pub use trace::{Observed, TracedEvent, TracedEvents, UnstoredMessage};
pub use track::StoredVehicleEvent;
pub use unstored::EmptyMessage;
pub use vehicle_row::{StoredVehicle, VehicleState};
pub use witness::{QueueWitness, WitnessStore};

/// Every statement that the consumer prepares for batches. A test prepares each of them against the migrated schema.
pub mod statements {
    pub use crate::settled::{SETTLED_STATE_PARTS, SETTLED_TELEMETRY_PARTS};
    pub use crate::state::UNKNOWN_VEHICLES;
    pub use crate::telemetry::{BURY_DEAD_LETTERS, STORE_TELEMETRY};
    pub use crate::unstored::NOTE_EMPTY_MESSAGES;
    pub use crate::upsert::{raise_state, store_state};
    pub use crate::witness::{NOTE_WITNESS, READ_WITNESSES};
}
