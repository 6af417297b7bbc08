//! Measures the cost of a million webhooks an hour.

use std::time::{Duration, Instant};

use super::setup::{API, CONSUMER, POSTGRES, REDIS, Setup};
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report};
use crate::load::{End, Load, Outcome, Traffic};
use crate::provider::Provider;
use crate::stage::Stage;
use crate::usage;

const PER_SECOND: f64 = 278.0;
const VEHICLES: u32 = 2_667;
const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn run(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    for round in 1..=setup.rounds {
        let idle = measure(setup, stage)?;
        let seconds = idle.outcome.seconds;
        let percent =
            |name: &str| idle.outcome.cpu_micros.get(name).map_or(f64::NAN, |micros| micros / seconds / 1e4);
        let both = percent(API) + percent(CONSUMER);
        let commits = idle.commits_per_second;
        setup.say("idle", round, &format!("API and consumer {both:.1} % of a core, {commits:.0} commits/s"));
        report.note("API and consumer", "% of a core", both);
        for (name, part) in [("API", API), ("consumer", CONSUMER), ("Redis", REDIS), ("PostgreSQL", POSTGRES)]
        {
            report.note(name, "% of a core", percent(part));
        }
        report.note("load generator", "% of a core", idle.outcome.own_cpu_micros / seconds / 1e4);
        report.note("commits", "/s", commits);
        report.note("batches", "/s", idle.batches_per_second);
        report.note("API resident", "MiB", idle.api_bytes as f64 / MIB);
        report.note("consumer resident", "MiB", idle.consumer_bytes as f64 / MIB);
        report.note("answers p50", "ms", idle.outcome.latency.p50_ms);
        report.note("answers p99", "ms", idle.outcome.latency.p99_ms);
    }
    report.ask("API and consumer", Kind::Must, Bound::AtMost(4.0));
    report.ask("API and consumer", Kind::Aim, Bound::AtMost(3.0));
    report.ask("commits", Kind::Must, Bound::AtMost(300.0));
    for name in ["API resident", "consumer resident"] {
        report.ask(name, Kind::Must, Bound::AtMost(24.0));
        report.ask(name, Kind::Aim, Bound::AtMost(16.0));
    }
    Ok(())
}

struct Idle {
    outcome: Outcome,
    commits_per_second: f64,
    batches_per_second: f64,
    api_bytes: u64,
    consumer_bytes: u64,
}

fn measure(setup: &Setup, stage: &mut Stage) -> Result<Idle, Failure> {
    stage.clear()?;
    let (mut api, mut consumer) = (stage.api(&[])?, stage.consumer()?);
    let (warm_up, measured) = (setup.seconds(3, 1), setup.seconds(30, 3));
    let load = Load {
        target: api.address,
        connections: 16,
        threads: 1,
        traffic: Traffic::Fresh { providers: Provider::ALL.to_vec(), vehicles: VEHICLES },
        per_second: Some(PER_SECOND),
        warm_up,
        end: End::After(measured),
        watched: stage.watch(&[(API, api.running.pid()), (CONSUMER, consumer.pid())]),
    };
    let generator = stage.load(&load)?;
    // The pause is part of the measurement, because PostgreSQL's counters are up to a second late.
    stage.interrupt.sleep(warm_up + Duration::from_millis(500))?;
    let (start, before) = (Instant::now(), counts(stage)?);
    stage.interrupt.sleep(measured.saturating_sub(Duration::from_secs(1)))?;
    let (seconds, after) = (start.elapsed().as_secs_f64(), counts(stage)?);
    let outcome: Outcome = generator.finish(&stage.interrupt, Duration::from_mins(2), || {
        api.running.check()?;
        consumer.check()
    })?;
    outcome.require_all_accepted("the API")?;
    let (api_bytes, consumer_bytes) =
        (usage::memory(api.running.pid())?.resident, usage::memory(consumer.pid())?.resident);
    api.running.stop(&stage.interrupt)?;
    consumer.stop(&stage.interrupt)?;
    Ok(Idle {
        outcome,
        commits_per_second: (after.0 - before.0) as f64 / seconds,
        batches_per_second: (after.1 - before.1) as f64 / seconds,
        api_bytes,
        consumer_bytes,
    })
}

/// The number of the database's commits, and of settled batches.
fn counts(stage: &Stage) -> Result<(i64, i64), Failure> {
    let (commits, _deadlocks) = stage.sql.transactions()?;
    Ok((commits, stage.sql.number("SELECT count(DISTINCT lease_id) FROM settled_batches")?))
}
