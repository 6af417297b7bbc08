//! Replays stored events: the cost of a row must not depend on how many rows there are.

use std::process::Stdio;

use super::setup::{CONSUMER, POSTGRES, Setup};
use super::sizing::store;
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report};
use crate::provider::Provider;
use crate::stage::Stage;
use crate::usage::{self, own_children_cpu_micros};

const VEHICLES: u32 = 500;

/// The cost of a replay, CPU microseconds for each row.
struct Replayed {
    postgres: f64,
    consumer: f64,
}

pub(super) fn run(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let sizes = [("few rows", setup.size(50_000, 2_000)), ("many rows", setup.size(400_000, 8_000))];
    for round in 1..=setup.rounds {
        let mut costs = Vec::new();
        for (name, rows) in sizes {
            let Replayed { postgres, consumer } = replay(stage, rows)?;
            setup.say("replay", round, &format!("{name}: {postgres:.1} us a row in PostgreSQL"));
            report.note(format!("{name}: CPU a row, {POSTGRES}"), "µs", postgres);
            report.note(format!("{name}: CPU a row, {CONSUMER}"), "µs", consumer);
            costs.push(postgres + consumer);
        }
        let [few, many] = costs.as_slice() else { continue };
        report.note("many ÷ few", "", many / few);
    }
    report.ask("many ÷ few", Kind::Must, Bound::AtMost(1.25));
    Ok(())
}

/// Stores reports, removes a value of each from telemetry, and lets a replay restore it.
fn replay(stage: &mut Stage, rows: u32) -> Result<Replayed, Failure> {
    stage.clear()?;
    stage.redis.fill(Provider::Niu, rows, VEHICLES)?;
    store(stage, Provider::Niu, rows)?;
    stage.sql.run("UPDATE telemetry SET battery_percent = NULL")?;
    stage.sql.run("VACUUM ANALYZE telemetry")?;
    stage.sql.run("CHECKPOINT")?;
    let servers = stage.watch(&[]);
    let before = (usage::cpu(&servers)?, own_children_cpu_micros()?);
    let range = stage.sql.text(
        "SELECT format('%s %s', (now() - interval '2 days')::date, (now() + interval '1 day')::date)",
    )?;
    let (from, to) = range.split_once(' ').unwrap_or_default();
    let mut replay = stage.migrator_command(&["replay", "--from", from, "--to", to])?;
    let ended = replay.stdin(Stdio::null()).output().map_err(Failure::io("run fleet-consumer replay"))?;
    let after = (usage::cpu(&servers)?, own_children_cpu_micros()?);
    let wrong = stage.sql.number("SELECT count(*) FROM telemetry WHERE battery_percent IS NULL")?;
    if !ended.status.success() || wrong != 0 {
        let errors = String::from_utf8_lossy(&ended.stderr);
        return Err(Failure::measurement(format!("the replay left {wrong} of {rows} rows: {errors}")));
    }
    let each = |micros: f64| micros / f64::from(rows);
    let used = usage::since(&before.0, &after.0);
    let postgres = used.get(POSTGRES).copied().unwrap_or(f64::NAN);
    Ok(Replayed { postgres: each(postgres), consumer: each(after.1 - before.1) })
}
