//! Measures what it costs to wait until a replica has every push on disk.

use std::time::Duration;

use super::setup::{API, REDIS, REPLICA, Setup};
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report};
use crate::load::{End, Load, Outcome, Traffic};
use crate::provider::Provider;
use crate::redis_side::RedisSide;
use crate::stage::Stage;

const CONNECTIONS: usize = 512;

/// Redis alone, or with a replica that must confirm every push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arm {
    Alone,
    Replicated,
}

impl Arm {
    fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Replicated => "one replica",
        }
    }

    fn replicas(self) -> &'static str {
        match self {
            Self::Alone => "0",
            Self::Replicated => "1",
        }
    }
}

pub(super) fn run(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    stage.redis.set_appendfsync("always")?;
    let server = stage.second_redis()?;
    let replica = RedisSide::connect(&server.url(), setup.shards)?;
    for round in 1..=setup.rounds {
        let mut rates = Vec::new();
        for arm in [Arm::Alone, Arm::Replicated] {
            replica.follow_nobody()?;
            stage.redis.flush()?;
            replica.flush()?;
            if arm == Arm::Replicated {
                replica.follow(&stage.redis, &stage.interrupt)?;
            }
            let outcome = measure(setup, stage, arm, replica.pid()?)?;
            let what = arm.name();
            outcome.require_all_accepted(what)?;
            let rate = outcome.accepted_per_second();
            setup.say("ingest-replicated", round, &format!("{what}: {rate:.0}/s"));
            note(report, what, &outcome, rate);
            rates.push(rate);
        }
        let [alone, replicated] = rates.as_slice() else { continue };
        report.note("throughput ÷ alone", "", replicated / alone);
    }
    report.ask("throughput ÷ alone", Kind::Must, Bound::AtLeast(0.55));
    Ok(())
}

fn note(report: &mut Report, what: &str, outcome: &Outcome, rate: f64) {
    report.note(format!("{what}: throughput"), "/s", rate);
    report.note(format!("{what}: p50"), "ms", outcome.latency.p50_ms);
    report.note(format!("{what}: p99"), "ms", outcome.latency.p99_ms);
    let all = [API, REDIS, REPLICA];
    report.note(format!("{what}: CPU a webhook"), "µs", outcome.cpu_a_request(&all));
    for (part, name) in [("the API", API), ("the primary", REDIS), ("the replica", REPLICA)] {
        report.note(format!("{what}: of it {part}"), "µs", outcome.cpu_a_request(&[name]));
    }
    let generator = outcome.own_cpu_micros / outcome.accepted() as f64;
    report.note(format!("{what}: load generator beside it"), "µs", generator);
}

fn measure(setup: &Setup, stage: &Stage, arm: Arm, replica_pid: u32) -> Result<Outcome, Failure> {
    let front = stage.api(&[("FLEET_QUEUE__REPLICAS", arm.replicas())])?;
    let load = Load {
        target: front.address,
        connections: CONNECTIONS,
        threads: 1,
        traffic: Traffic::Repeated { provider: Provider::Niu, vehicles: 5_000 },
        per_second: None,
        warm_up: Duration::from_millis(setup.size(1_000, 300)),
        end: End::After(setup.seconds(5, 1)),
        watched: stage.watch(&[(API, front.running.pid()), (REPLICA, replica_pid)]),
    };
    let outcome = stage.load(&load)?.finish(&stage.interrupt, Duration::from_mins(1), || Ok(()));
    front.running.end();
    outcome
}
