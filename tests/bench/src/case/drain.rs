//! Drains a queue, compared with a connection that only inserts, and with two consumers.

use std::time::{Duration, Instant};

use super::setup::{CONSUMER, POSTGRES, REDIS, Setup};
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report};
use crate::insert::{Insert, Inserted};
use crate::provider::Provider;
use crate::running::Running;
use crate::sql::LOG_POSITION;
use crate::stage::Stage;
use crate::usage::{self, CpuMicros, Watched};

const VEHICLES: u32 = 5_000;

/// Rows in one transaction of the reference, as many as the messages of one claim.
const BATCH: u32 = 1_000;

/// The bytes of every table and index that the product has filled.
const DATABASE_BYTES: &str = "SELECT sum(pg_total_relation_size(relation))::int8 FROM (
    SELECT oid AS relation FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    UNION ALL SELECT show_chunks('telemetry')) AS relations";

/// The run fails if draining takes longer.
const DRAINED_WITHIN: Duration = Duration::from_mins(5);

/// The cost of draining the queue.
struct Drained {
    per_second: f64,
    /// CPU microseconds for each event.
    cpu_micros: CpuMicros,
    /// Bytes of PostgreSQL's log for each event.
    log_bytes: f64,
    /// Bytes of every table and index of the product for each event.
    table_bytes: f64,
    deadlocks: i64,
}

impl Drained {
    fn cpu(&self, name: &str) -> f64 {
        self.cpu_micros.get(name).copied().unwrap_or(f64::NAN)
    }
}

pub(super) fn run(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let messages = setup.size(500_000, 20_000);
    for round in 1..=setup.rounds {
        let product = drain(stage, messages, 1)?;
        let rate = product.per_second;
        let [consumer, redis, postgres] = [CONSUMER, REDIS, POSTGRES].map(|name| product.cpu(name));
        setup.say(
            "drain",
            round,
            &format!("product: {rate:.0}/s; CPU an event: consumer {consumer:.1} us, Redis {redis:.1} us, PostgreSQL {postgres:.1} us"),
        );
        report.note("product: events", "/s", rate);
        report.note("product: CPU an event, consumer", "µs", consumer);
        report.note("product: CPU an event, Redis", "µs", redis);
        report.note("product: CPU an event, PostgreSQL", "µs", postgres);
        report.note("product: log an event, PostgreSQL", "B", product.log_bytes);
        report.note("product: tables and indexes an event", "B", product.table_bytes);

        let (inserted, log_bytes) = insert(stage, messages)?;
        let rows = inserted.rows as f64;
        let (reference_rate, reference_cpu) =
            (rows / inserted.seconds, inserted.cpu_micros.get(POSTGRES).copied().unwrap_or(f64::NAN) / rows);
        setup.say(
            "drain",
            round,
            &format!("reference: {reference_rate:.0} rows/s; CPU a row: PostgreSQL {reference_cpu:.1} us"),
        );
        report.note("reference: rows", "/s", reference_rate);
        report.note("reference: CPU a row, PostgreSQL", "µs", reference_cpu);
        report.note("reference: CPU a row, client", "µs", inserted.own_cpu_micros / rows);
        report.note("reference: log a row, PostgreSQL", "B", log_bytes);
        report.note("rate ÷ reference", "", rate / reference_rate);
        report.note("PostgreSQL's CPU ÷ reference", "", postgres / reference_cpu);
    }
    report.ask("rate ÷ reference", Kind::Must, Bound::AtLeast(0.8));
    report.ask("rate ÷ reference", Kind::Aim, Bound::AtLeast(0.95));
    report.ask("product: CPU an event, consumer", Kind::Must, Bound::AtMost(4.5));
    report.ask("product: CPU an event, consumer", Kind::Aim, Bound::AtMost(3.5));
    report.ask("product: CPU an event, Redis", Kind::Must, Bound::AtMost(3.5));
    report.ask("product: CPU an event, Redis", Kind::Aim, Bound::AtMost(2.5));
    report.ask("PostgreSQL's CPU ÷ reference", Kind::Must, Bound::AtMost(1.45));
    report.ask("PostgreSQL's CPU ÷ reference", Kind::Aim, Bound::AtMost(1.25));
    Ok(())
}

/// The lower bound for "no slower". Two consumers share two cores with everything else, so runs differ a
/// little.
const NO_SLOWER: f64 = 0.95;

pub(super) fn run_two(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let messages = setup.size(500_000, 20_000);
    for round in 1..=setup.rounds {
        let mut rates = Vec::new();
        for (consumers, name) in [(1, "one consumer"), (2, "two consumers")] {
            let drained = drain(stage, messages, consumers)?;
            setup.say("drain-two", round, &format!("{name}: {:.0}/s", drained.per_second));
            report.note(format!("{name}: events"), "/s", drained.per_second);
            report.note(format!("{name}: CPU an event, PostgreSQL"), "µs", drained.cpu(POSTGRES));
            report.note(format!("{name}: deadlocks"), "", drained.deadlocks as f64);
            rates.push(drained.per_second);
        }
        let [one, two] = rates.as_slice() else { continue };
        report.note("two ÷ one", "", two / one);
    }
    report.ask("two consumers: deadlocks", Kind::Must, Bound::AtMost(0.0));
    report.ask("two ÷ one", Kind::Must, Bound::AtLeast(NO_SLOWER));
    report.ask("two ÷ one", Kind::Aim, Bound::AtLeast(1.4));
    Ok(())
}

/// Fills the queue, starts the consumers and waits until all messages are settled.
fn drain(stage: &mut Stage, messages: u32, consumers: usize) -> Result<Drained, Failure> {
    stage.clear()?;
    stage.redis.fill(Provider::Niu, messages, VEHICLES)?;
    let servers = stage.watch(&[]);
    let before = (usage::cpu(&servers)?, stage.sql.number(LOG_POSITION)?);
    let started = Instant::now();
    let mut running = Vec::new();
    for _ in 0..consumers {
        running.push(stage.consumer()?);
    }
    stage.interrupt.until("the queue to be empty", DRAINED_WITHIN, || {
        running.iter_mut().try_for_each(Running::check)?;
        Ok::<_, Failure>((stage.redis.ledger(Provider::Niu)?.settled >= u64::from(messages)).then_some(()))
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let mut used = usage::since(&before.0, &usage::cpu(&servers)?);
    let pids = running.iter().map(|consumer| (consumer.pid().to_string(), consumer.pid()));
    let consumed: f64 = usage::cpu(&pids.collect::<Watched>())?.values().sum();
    used.insert(CONSUMER.to_owned(), consumed);
    for consumer in running {
        consumer.stop(&stage.interrupt)?;
    }
    let rows = stage.sql.number("SELECT count(*) FROM telemetry")?;
    if rows != i64::from(messages) {
        return Err(Failure::measurement(format!("{messages} messages became {rows} rows of telemetry")));
    }
    let (_commits, deadlocks) = stage.sql.transactions()?;
    let events = f64::from(messages);
    let log_bytes = (stage.sql.number(LOG_POSITION)? - before.1) as f64 / events;
    let table_bytes = stage.sql.number(DATABASE_BYTES)? as f64 / events;
    let cpu_micros = used.into_iter().map(|(name, micros)| (name, micros / events)).collect();
    Ok(Drained { per_second: events / seconds, cpu_micros, log_bytes, table_bytes, deadlocks })
}

/// Runs the reference. Also returns the bytes of PostgreSQL's log for each row.
fn insert(stage: &mut Stage, rows: u32) -> Result<(Inserted, f64), Failure> {
    stage.clear()?;
    let insert = Insert {
        database_url: stage.database_url(),
        rows,
        batch: BATCH,
        vehicles: VEHICLES,
        watched: stage.watch(&[]),
    };
    let before = stage.sql.number(LOG_POSITION)?;
    let inserted: Inserted =
        stage.tool("insert", &insert)?.finish(&stage.interrupt, DRAINED_WITHIN, || Ok(()))?;
    if inserted.rows != u64::from(rows) {
        return Err(Failure::measurement(format!("the reference inserted {} of {rows} rows", inserted.rows)));
    }
    let log_bytes = (stage.sql.number(LOG_POSITION)? - before) as f64 / f64::from(rows);
    Ok((inserted, log_bytes))
}
