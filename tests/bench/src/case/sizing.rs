//! Measures the disk and memory bytes of a message, an event and a vehicle, and the connections of a
//! consumer.
//!
//! They do not depend on the machine's speed, except for PostgreSQL's log: more checkpoints make it larger.

use std::time::Duration;

use jiff::Timestamp;

use super::setup::Setup;
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report};
use crate::provider::{Provider, Status};
use crate::sql::LOG_POSITION;
use crate::stage::Stage;
use crate::usual::Usual;

const VEHICLES: u32 = 5_000;

/// The run fails if storing takes longer.
const STORED_WITHIN: Duration = Duration::from_mins(10);

const TABLE_BYTES: &str =
    "SELECT coalesce(sum(pg_table_size(chunk)), 0)::int8 FROM show_chunks('telemetry') AS chunk";
const INDEX_BYTES: &str =
    "SELECT coalesce(sum(pg_indexes_size(chunk)), 0)::int8 FROM show_chunks('telemetry') AS chunk";
const RAW_BYTES: &str = "SELECT coalesce(sum(octet_length(raw::text)), 0)::int8 FROM telemetry";
const CONSUMER_CONNECTIONS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'consumer' AND datname = current_database()";

pub(super) fn run(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    for round in 1..=setup.rounds {
        for provider in Provider::ALL {
            setup.say("sizing", round, provider.slug());
            messages_and_events(setup, stage, report, provider)?;
        }
        setup.say("sizing", round, "vehicles");
        vehicles(setup, stage, report)?;
    }
    report.ask("consumer: connections to PostgreSQL, most", Kind::Must, Bound::AtMost(5.0));
    Ok(())
}

/// Measures a backlog in Redis and the rows that it becomes.
fn messages_and_events(
    setup: &Setup,
    stage: &mut Stage,
    report: &mut Report,
    provider: Provider,
) -> Result<(), Failure> {
    let messages = setup.size(200_000, 5_000);
    let usual = Usual::of(provider)?;
    let slug = provider.slug();
    let alone = file_bytes_alone(setup, stage, provider, &usual)?;
    stage.clear()?;
    let memory = stage.redis.memory_bytes()?;
    let file = stage.redis.file_bytes()?;
    let sent = stage.redis.fill_usual(&usual, provider, messages, VEHICLES)?;
    let mut note = |name: &str, bytes: f64| report.note(format!("{slug}: {name}"), "B", bytes);
    let each = |bytes: i64| bytes as f64 / f64::from(messages);
    note("body", each(sent.body_bytes));
    note("message with its envelope", each(sent.message_bytes));
    note("Redis: memory a message", each(stage.redis.memory_bytes()? - memory));
    note("Redis: append-only file a message", each(stage.redis.file_bytes()? - file));
    note("Redis: append-only file a message, pushed alone", alone);

    let log = stage.sql.number(LOG_POSITION)?;
    let connections = store(stage, provider, messages)?;
    note("PostgreSQL: log an event", each(stage.sql.number(LOG_POSITION)? - log));
    note("telemetry: raw event", each(stage.sql.number(RAW_BYTES)?));
    note("telemetry: table a row", each(stage.sql.number(TABLE_BYTES)?));
    note("telemetry: indexes a row", each(stage.sql.number(INDEX_BYTES)?));
    report.note("consumer: connections to PostgreSQL, most", "", connections.postgres as f64);
    report.note("consumer: connections to Redis, most", "", connections.redis as f64);
    Ok(())
}

/// How much the append-only file grows for a message that is pushed alone, as under low load.
fn file_bytes_alone(setup: &Setup, stage: &Stage, provider: Provider, usual: &Usual) -> Result<f64, Failure> {
    let messages = setup.size(5_000, 500);
    let body = usual.body(Status { vehicle: 1, at_ms: Timestamp::now().as_millisecond() });
    let before = stage.redis.file_bytes()?;
    stage.redis.fill_with(provider, messages, &body)?;
    Ok((stage.redis.file_bytes()? - before) as f64 / f64::from(messages))
}

/// Measures rows of `vehicles`: new ones, and after ten more reports for each.
fn vehicles(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let vehicles = setup.size(100_000, 2_000);
    let usual = Usual::of(Provider::Niu)?;
    stage.clear()?;
    let mut messages = 0;
    for (rounds, state) in [(1, "new"), (10, "after ten more reports")] {
        stage.redis.fill_usual(&usual, Provider::Niu, vehicles * rounds, vehicles)?;
        messages += vehicles * rounds;
        store(stage, Provider::Niu, messages)?;
        let each = |bytes: i64| bytes as f64 / f64::from(vehicles);
        let table = stage.sql.number("SELECT pg_table_size('vehicles')")?;
        let indexes = stage.sql.number("SELECT pg_indexes_size('vehicles')")?;
        report.note(format!("vehicles: table a row, {state}"), "B", each(table));
        report.note(format!("vehicles: indexes a row, {state}"), "B", each(indexes));
    }
    Ok(())
}

/// The maximum number of open connections.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connections {
    postgres: i64,
    redis: i64,
}

/// Runs a consumer until `messages` in total are settled.
pub(super) fn store(stage: &mut Stage, provider: Provider, messages: u32) -> Result<Connections, Failure> {
    let mut most = Connections::default();
    let others = stage.redis.clients()?;
    let mut consumer = stage.consumer()?;
    stage.interrupt.until("the backlog to be stored", STORED_WITHIN, || {
        consumer.check()?;
        most.postgres = most.postgres.max(stage.sql.number(CONSUMER_CONNECTIONS)?);
        most.redis = most.redis.max(stage.redis.clients()? - others);
        Ok::<_, Failure>((stage.redis.ledger(provider)?.settled >= u64::from(messages)).then_some(()))
    })?;
    consumer.stop(&stage.interrupt)?;
    let rows = stage.sql.number("SELECT count(*) FROM telemetry")?;
    if rows != i64::from(messages) {
        return Err(Failure::measurement(format!("{messages} messages became {rows} rows of telemetry")));
    }
    Ok(most)
}
