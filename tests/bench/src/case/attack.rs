//! Slow clients, refused requests and messages of tiny events: a minute each, on an API and a consumer with the memory limits
//! of the manifests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fleet_testbed::{MemoryGroup, MemoryLimits};

use super::setup::{API, Setup};
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report};
use crate::flood::{Flood, Newcomers, Shape, Welcomed};
use crate::load::{End, Load, Outcome, Traffic};
use crate::provider::Provider;
use crate::running::Running;
use crate::stage::{Api, Front, Stage};
use crate::usage::{self, Watched};
use fleet_harness::http;

const MIB: f64 = 1024.0 * 1024.0;

/// The memory limits of deploy/k8s/base. A test compares them with the manifests.
const API_LIMIT: u64 = 384 << 20;
const CONSUMER_LIMIT: u64 = 384 << 20;

/// Honest webhooks a second for each provider on persistent connections. As many are sent on new connections.
const HONEST_PER_SECOND: f64 = 50.0;

/// Idle connections to the admin listener, more than it accepts.
const ADMIN_CONNECTIONS: usize = 200;

/// `timeoutSeconds` of the probes.
const PROBE_MS: f64 = 3_000.0;

/// The name, the kind and the number of the attackers.
type Attack = (&'static str, Shape, usize);

/// Clients that open connections and send little or nothing.
const SLOW_CLIENTS: [Attack; 4] = [
    ("idle connections", Shape::Idle, 10_000),
    ("half heads", Shape::HalfHeads, 10_000),
    ("slow bodies", Shape::SlowBodies, 4_200),
    ("stopped bodies", Shape::StoppedBodies, 4_200),
];

/// Requests with a wrong signature, which the API must compute.
const REFUSED: [Attack; 2] =
    [("many parameters", Shape::ManyParameters, 16), ("large forms", Shape::LargeForms, 16)];

/// The number of messages with ten thousand events each.
const TINY_EVENTS: u32 = 400;

/// The run fails if anything takes longer.
const WITHIN: Duration = Duration::from_mins(10);

/// Measures what slow clients cost.
pub(super) fn run_slow_clients(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    floods(setup, stage, report, &SLOW_CLIENTS)?;
    // The others take less.
    report.ask("idle connections: API, most resident", Kind::Aim, Bound::AtMost(64.0));
    Ok(())
}

/// Measures what requests with a wrong signature cost.
pub(super) fn run_refused(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    floods(setup, stage, report, &REFUSED)?;
    for (name, _shape, _attackers) in REFUSED {
        // Each has one request.
        let name = format!("{name}: API's CPU a connection");
        report.ask(&name, Kind::Must, Bound::AtMost(2_000.0));
        report.ask(&name, Kind::Aim, Bound::AtMost(500.0));
    }
    Ok(())
}

/// Measures the memory of a consumer whose messages have as many events as they may.
pub(super) fn run_tiny_events(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    tiny_events(setup, stage, report, &memory_limits()?)?;
    report.ask("consumer, most resident", Kind::Must, Bound::AtMost(128.0));
    report.ask("consumer, most resident", Kind::Aim, Bound::AtMost(96.0));
    Ok(())
}

fn memory_limits() -> Result<MemoryLimits, Failure> {
    MemoryLimits::find().map_err(|why| {
        Failure::measurement(format!(
            "this machine cannot limit memory with control groups ({why}); run the benchmark as root"
        ))
    })
}

/// Runs each attack once: there is no reference to alternate with.
fn floods(setup: &Setup, stage: &mut Stage, report: &mut Report, attacks: &[Attack]) -> Result<(), Failure> {
    let limits = memory_limits()?;
    for &(name, shape, attackers) in attacks {
        flood(setup, stage, report, &limits, (name, shape, setup.size(attackers, 50)))?;
    }
    for (name, _shape, _attackers) in attacks {
        for who in ["kept", "new"] {
            report.ask(&format!("{name}: answered 200, {who}"), Kind::Must, Bound::AtLeast(99.9));
            report.ask(&format!("{name}: p99, {who}"), Kind::Must, Bound::AtMost(100.0));
        }
        report.ask(&format!("{name}: probes, slowest"), Kind::Must, Bound::AtMost(PROBE_MS));
        report.ask(&format!("{name}: API, most resident"), Kind::Must, Bound::AtMost(96.0));
        report.ask(&format!("{name}: API, resident after it"), Kind::Must, Bound::AtMost(48.0));
    }
    Ok(())
}

/// The honest load on persistent connections, one process for each provider.
struct Honest {
    kept: Vec<Running>,
    new: Running,
}

fn flood(
    setup: &Setup,
    stage: &mut Stage,
    report: &mut Report,
    limits: &MemoryLimits,
    (name, shape, attackers): Attack,
) -> Result<(), Failure> {
    stage.clear()?;
    let group = limits.group(API_LIMIT).map_err(|error| Failure::measurement(error.to_string()))?;
    let Api { front: mut api, admin } = stage.api_with_admin(&[])?;
    confine(&group, &api.running)?;
    let mut consumer = stage.consumer()?;
    let honest = honest(stage, &api)?;
    stage.interrupt.sleep(setup.seconds(2, 1))?;
    let before = usage::memory(api.running.pid())?.resident;
    let watched = Watched::from([(API.to_owned(), api.running.pid())]);
    let cpu = usage::cpu(&watched)?;
    let flood = Flood { target: api.address, shape, attackers };
    let mut attack = stage.tool("attack", &flood)?;
    let idle = Flood { target: admin, shape: Shape::Idle, attackers: ADMIN_CONNECTIONS };
    let mut idle = stage.tool("attack", &idle)?;
    let slowest = probe(setup, stage, &mut api, admin)?;
    for attacker in [&mut attack, &mut idle] {
        attacker.close_stdin();
    }
    let minute = Duration::from_mins(1);
    let connections: u64 = attack.finish(&stage.interrupt, minute, || Ok(()))?;
    idle.finish::<u64>(&stage.interrupt, minute, || Ok(()))?;
    // Includes the work for everybody else.
    let cpu_micros: f64 = usage::since(&cpu, &usage::cpu(&watched)?).values().sum();
    // The memory shortly after the attack.
    stage.interrupt.sleep(setup.seconds(5, 1))?;
    let after = usage::memory(api.running.pid())?;
    let (kept, new) = honest.close(stage, minute)?;
    api.running.check()?;
    consumer.check()?;
    note(report, name, &kept, &new);
    report.note(format!("{name}: attackers' connections"), "", connections as f64);
    report.note(format!("{name}: API's CPU a connection"), "µs", cpu_micros / connections.max(1) as f64);
    report.note(format!("{name}: probes, slowest"), "ms", slowest);
    report.note(format!("{name}: API, resident before"), "MiB", before as f64 / MIB);
    report.note(format!("{name}: API, most resident"), "MiB", after.peak as f64 / MIB);
    report.note(format!("{name}: API, resident after it"), "MiB", after.resident as f64 / MIB);
    setup.say(
        "flood",
        1,
        &format!("{name}: {connections} connections; API at most {:.0} MiB", after.peak as f64 / MIB),
    );
    if group.has_killed() {
        return Err(Failure::measurement(format!(
            "{name}: the API exceeded its memory limit and was killed"
        )));
    }
    api.running.stop(&stage.interrupt)?;
    consumer.stop(&stage.interrupt)
}

fn confine(group: &MemoryGroup, running: &Running) -> Result<(), Failure> {
    group.add(running.pid()).map_err(|error| Failure::measurement(error.to_string()))
}

fn honest(stage: &Stage, api: &Front) -> Result<Honest, Failure> {
    let load = |provider| Load {
        target: api.address,
        connections: 8,
        threads: 1,
        traffic: Traffic::Fresh { providers: vec![provider], vehicles: 1_000 },
        per_second: Some(HONEST_PER_SECOND),
        warm_up: Duration::from_millis(200),
        end: End::StdinCloses,
        watched: stage.watch(&[]),
    };
    let kept: Result<_, _> = Provider::ALL.into_iter().map(|provider| stage.load(&load(provider))).collect();
    let new = Newcomers { target: api.address, per_second: HONEST_PER_SECOND };
    Ok(Honest { kept: kept?, new: stage.tool("newcomers", &new)? })
}

/// Probes health once a second during the attack. Returns the slowest response, ms.
fn probe(setup: &Setup, stage: &Stage, api: &mut Front, admin: SocketAddr) -> Result<f64, Failure> {
    let end = Instant::now() + setup.seconds(60, 2);
    let mut slowest: f64 = 0.0;
    while Instant::now() < end {
        stage.interrupt.sleep(Duration::from_millis(500))?;
        api.running.check()?;
        let asked = Instant::now();
        let is_ready = http::is_ok(admin.port(), "/readyz", http::TIMEOUT);
        let took = asked.elapsed().as_secs_f64() * 1_000.0;
        slowest = slowest.max(if is_ready { took } else { f64::INFINITY });
    }
    Ok(slowest)
}

impl Honest {
    fn close(self, stage: &Stage, within: Duration) -> Result<(Vec<Outcome>, Welcomed), Failure> {
        let Self { kept, mut new } = self;
        let mut outcomes = Vec::new();
        for mut load in kept {
            load.close_stdin();
            outcomes.push(load.finish(&stage.interrupt, within, || Ok(()))?);
        }
        new.close_stdin();
        Ok((outcomes, new.finish(&stage.interrupt, within, || Ok(()))?))
    }
}

/// The percentage of requests that got a 200.
fn accepted<'a>(answers: impl Iterator<Item = (&'a u16, &'a u64)>) -> f64 {
    let (mut accepted, mut all) = (0, 0);
    for (status, count) in answers {
        accepted += if *status == 200 { *count } else { 0 };
        all += count;
    }
    accepted as f64 / all as f64 * 100.0
}

fn note(report: &mut Report, name: &str, kept: &[Outcome], new: &Welcomed) {
    let answers = kept.iter().flat_map(|outcome| &outcome.answers);
    report.note(format!("{name}: answered 200, kept"), "%", accepted(answers));
    let slowest = kept.iter().map(|outcome| outcome.latency.p99_ms).fold(0.0, f64::max);
    report.note(format!("{name}: p99, kept"), "ms", slowest);
    report.note(format!("{name}: answered 200, new"), "%", accepted(new.answers.iter()));
    report.note(format!("{name}: p99, new"), "ms", new.latency.p99_ms);
}

/// A backlog of messages that contain ten thousand events each, none with a time.
fn tiny_events(
    setup: &Setup,
    stage: &mut Stage,
    report: &mut Report,
    limits: &MemoryLimits,
) -> Result<(), Failure> {
    stage.clear()?;
    let messages = setup.size(TINY_EVENTS, 8);
    let body = format!("[{}]", vec![r#"{"sn":"n"}"#; 10_000].join(","));
    stage.redis.fill_with(Provider::Niu, messages, &body)?;
    let group = limits.group(CONSUMER_LIMIT).map_err(|error| Failure::measurement(error.to_string()))?;
    let started = Instant::now();
    let mut consumer = stage.consumer()?;
    confine(&group, &consumer)?;
    stage.interrupt.until("the tiny events to be settled", WITHIN, || {
        consumer.check()?;
        let ledger = stage.redis.ledger(Provider::Niu)?;
        Ok::<_, Failure>((ledger.settled >= u64::from(messages)).then_some(()))
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let memory = usage::memory(consumer.pid())?;
    let letters = stage.sql.number("SELECT count(*) FROM dead_letters")?;
    if group.has_killed() || letters != 0 {
        return Err(Failure::measurement(format!(
            "the consumer was killed, or wrote {letters} dead letters"
        )));
    }
    setup.say("tiny-events", 1, &format!("settled in {seconds:.1} s"));
    report.note("events", "/s", f64::from(messages) * 10_000.0 / seconds);
    report.note("consumer, most resident", "MiB", memory.peak as f64 / MIB);
    consumer.stop(&stage.interrupt)
}

#[cfg(test)]
mod tests {
    use super::{API_LIMIT, CONSUMER_LIMIT};

    #[test]
    fn the_limits_are_those_of_the_manifests() {
        let base = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/k8s/base");
        for (name, bytes) in [("api", API_LIMIT), ("consumer", CONSUMER_LIMIT)] {
            let deployment = std::fs::read_to_string(format!("{base}/{name}/deployment.yaml")).unwrap();
            let limits = deployment.split_once("limits:\n").unwrap().1;
            let memory = limits.lines().next().unwrap().trim();
            assert_eq!(memory, format!("memory: {}Mi", bytes >> 20), "{name}");
        }
    }
}
