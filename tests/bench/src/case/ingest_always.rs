//! Measures the throughput when every push is on disk before its response.

use std::time::Duration;

use super::ingest::Taker;
use super::setup::{API, REDIS, Setup};
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report};
use crate::load::{End, Load, Outcome, Traffic};
use crate::provider::Provider;
use crate::stage::Stage;

const CONNECTIONS: usize = 512;

pub(super) fn run(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    for round in 1..=setup.rounds {
        let mut rates = Vec::new();
        for (taker, fsync) in
            [(Taker::Product, "everysec"), (Taker::Product, "always"), (Taker::Lpush, "always")]
        {
            stage.redis.set_appendfsync(fsync)?;
            let outcome = measure(setup, stage, taker)?;
            let what = format!("{}, {fsync}", taker.name());
            outcome.require_all_accepted(&what)?;
            let rate = outcome.accepted_per_second();
            setup.say("ingest-always", round, &format!("{what}: {rate:.0}/s"));
            report.note(format!("{what}: throughput"), "/s", rate);
            report.note(format!("{what}: CPU a webhook"), "µs", outcome.cpu_a_request(&[API, REDIS]));
            report.note(format!("{what}: p99"), "ms", outcome.latency.p99_ms);
            rates.push(rate);
        }
        let [everysec, always, lpush] = rates.as_slice() else { continue };
        report.note("always ÷ everysec", "", always / everysec);
        report.note("always ÷ (b)", "", always / lpush);
    }
    report.ask("always ÷ everysec", Kind::Must, Bound::AtLeast(0.8));
    report.ask("always ÷ everysec", Kind::Aim, Bound::AtLeast(0.95));
    report.ask("always ÷ (b)", Kind::Must, Bound::AtLeast(1.0));
    Ok(())
}

fn measure(setup: &Setup, stage: &Stage, taker: Taker) -> Result<Outcome, Failure> {
    let front = taker.start(stage)?;
    let load = Load {
        target: front.address,
        connections: CONNECTIONS,
        threads: 1,
        traffic: Traffic::Repeated { provider: Provider::Niu, vehicles: 5_000 },
        per_second: None,
        warm_up: Duration::from_millis(setup.size(1_000, 300)),
        end: End::After(setup.seconds(5, 1)),
        watched: stage.watch(&[(API, front.running.pid())]),
    };
    let outcome = stage.load(&load)?.finish(&stage.interrupt, Duration::from_mins(1), || Ok(()));
    front.running.end();
    outcome
}
