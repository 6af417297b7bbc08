//! Writing to the databases: statements, retries, vehicles and dead letters.

use std::time::Instant;

use fleet_store::StoreError;
use metrics::{counter, gauge, histogram};
use strum::VariantArray;

use crate::batch::rejection::reasons;
use crate::database_kind::DatabaseKind;
use crate::metrics::declare::declare;

declare! {
    counter FOLDED_EVENTS = "fleet_consumer_folded_events_total",
        "Events folded into the vehicles' current state";
    counter VEHICLE_UPDATES = "fleet_consumer_vehicle_updates_total",
        "Rows of vehicles written; the events folded divided by them are the fold ratio";
    counter NEW_VEHICLES = "fleet_consumer_new_vehicles_total", "Vehicles that were not known before";
    counter DEAD_LETTERS = "fleet_consumer_dead_letters_total", "Dead letters, by reason";
    counter SPLITS = "fleet_consumer_splits_total", "Transactions halved, by cause";
    histogram STATEMENT_DURATION = "fleet_consumer_database_statement_duration_seconds", Seconds,
        "One attempt to store a part of a batch, including the wait for a connection and failed attempts";
    counter DATABASE_RETRIES = "fleet_consumer_database_retries_total",
        "Transactions retried, by class of SQLSTATE or kind of failure";
    gauge DATABASE_AWAY = "fleet_consumer_database_away",
        "1 while a database is down, and batches that the other one has are parked until it recovers";
}

/// Why a transaction is halved.
#[derive(Clone, Copy, Debug, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum SplitCause {
    /// The database rejects one of its records.
    Poison,
    /// It was too slow twice.
    Slow,
}

/// Exports every series of the databases with its first zero.
pub(super) fn start_databases_at_zero() {
    for &database in DatabaseKind::VARIANTS {
        for class in StoreError::LABELS {
            counter!(DATABASE_RETRIES, "side" => database.name(), "class" => class).increment(0);
        }
        let _exported = histogram!(STATEMENT_DURATION, "side" => database.name());
        database_down(database, false);
    }
}

/// Exports every series of a provider with its first zero.
pub(super) fn start_at_zero(provider: &'static str) {
    folded(provider, 0, 0, 0);
    for reason in reasons() {
        counter!(DEAD_LETTERS, "provider" => provider, "reason" => reason).increment(0);
    }
    for &cause in SplitCause::VARIANTS {
        counter!(SPLITS, "provider" => provider, "cause" => <&'static str>::from(cause)).increment(0);
    }
}

/// Counts a dead letter.
pub(crate) fn dead_letter(provider: &'static str, reason: &'static str) {
    counter!(DEAD_LETTERS, "provider" => provider, "reason" => reason).increment(1);
}

/// Counts how many events of a transaction were folded to how many vehicles, and how many of those are new.
pub(crate) fn folded(provider: &'static str, events: usize, vehicles: usize, new_vehicles: u64) {
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    counter!(FOLDED_EVENTS, "provider" => provider).increment(wide(events));
    counter!(VEHICLE_UPDATES, "provider" => provider).increment(wide(vehicles));
    counter!(NEW_VEHICLES, "provider" => provider).increment(new_vehicles);
}

/// Times one attempt to store something.
pub(crate) async fn timed<T>(database: DatabaseKind, storing: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let stored = storing.await;
    histogram!(STATEMENT_DURATION, "side" => database.name()).record(started.elapsed());
    stored
}

/// Counts a transaction that is retried.
pub(crate) fn database_retry(database: DatabaseKind, class: &'static str) {
    counter!(DATABASE_RETRIES, "side" => database.name(), "class" => class).increment(1);
}

/// Shows whether a database is down.
pub(crate) fn database_down(database: DatabaseKind, is_down: bool) {
    gauge!(DATABASE_AWAY, "side" => database.name()).set(u8::from(is_down));
}

/// Counts a transaction that is halved.
pub(crate) fn split(provider: &'static str, cause: SplitCause) {
    counter!(SPLITS, "provider" => provider, "cause" => <&'static str>::from(cause)).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_stay() {
        let causes: Vec<&str> = SplitCause::VARIANTS.iter().map(|&cause| cause.into()).collect();
        assert_eq!(causes, ["poison", "slow"]);
        let databases: Vec<_> = DatabaseKind::VARIANTS.iter().map(|database| database.name()).collect();
        assert_eq!(databases, ["state", "telemetry"]);
    }
}
