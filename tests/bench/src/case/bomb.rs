//! A bomb at full speed while two other providers continue, and memory with a larger backlog.

use std::time::{Duration, Instant};

use super::setup::{API, CONSUMER, POSTGRES, REDIS, Setup};
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report};
use crate::freshness::{Freshness, Seen};
use crate::load::{End, Latency, Load, Outcome, Traffic};
use crate::provider::Provider;
use crate::running::Running;
use crate::stage::{Front, Stage};
use crate::usage;

const CONNECTIONS: usize = 256;
const VEHICLES: u32 = 8_000;
const OTHERS: [Provider; 2] = [Provider::Segway, Provider::Invers];
const OTHERS_PER_SECOND: f64 = 100.0;
const MIB: f64 = 1024.0 * 1024.0;

/// The run fails if anything takes longer.
const APPLIED_WITHIN: Duration = Duration::from_mins(10);

/// The API, a consumer, and two providers that continue whatever the third one does.
struct Scene {
    api: Front,
    consumer: Running,
    others: Vec<(Provider, Running)>,
    looking: Running,
}

/// The outcomes of the two other providers.
struct Others {
    answers: Vec<(Provider, Latency)>,
    seen: Seen,
}

pub(super) fn run(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let updates = setup.size(1_800_000, 20_000);
    for round in 1..=setup.rounds {
        without(setup, stage, report, round)?;
        with(setup, stage, report, round, updates)?;
    }
    backlog(setup, stage, report, setup.size(2_000_000, 20_000))?;
    ask(report);
    Ok(())
}

fn ask(report: &mut Report) {
    let must = [
        ("updates answered 200 and applied after", 38.0),
        ("segway: answers p99 beside the bomb", 25.0),
        ("invers: answers p99 beside the bomb", 25.0),
        ("segway: freshness p99 beside the bomb", 2_000.0),
        ("invers: freshness p99 beside the bomb", 2_000.0),
        ("API: most resident", 64.0),
        ("consumer: most resident", 128.0),
        ("API: most resident, large backlog", 64.0),
        ("consumer: most resident, large backlog", 128.0),
    ];
    for (name, most) in must {
        report.ask(name, Kind::Must, Bound::AtMost(most));
    }
    report.ask("updates answered 200 and applied after", Kind::Aim, Bound::AtMost(30.0));
    for name in ["segway: freshness p99 beside the bomb", "invers: freshness p99 beside the bomb"] {
        report.ask(name, Kind::Aim, Bound::AtMost(500.0));
    }
}

fn without(setup: &Setup, stage: &mut Stage, report: &mut Report, round: u32) -> Result<(), Failure> {
    let scene = set(stage)?;
    stage.interrupt.sleep(setup.seconds(20, 3))?;
    let (others, _resident) = close(stage, scene)?;
    setup.say("bomb", round, &format!("without: others' freshness p99 {:.0} ms", others.seen.all.p99_ms));
    note_others(report, &others, "without it");
    Ok(())
}

fn with(
    setup: &Setup,
    stage: &mut Stage,
    report: &mut Report,
    round: u32,
    updates: u64,
) -> Result<(), Failure> {
    let mut scene = set(stage)?;
    stage.interrupt.sleep(setup.seconds(3, 1))?;
    let load = Load {
        target: scene.api.address,
        connections: CONNECTIONS,
        threads: 1,
        traffic: Traffic::Bomb { vehicles: VEHICLES },
        per_second: None,
        warm_up: Duration::ZERO,
        end: End::Reports(updates),
        watched: stage.watch(&[(API, scene.api.running.pid()), (CONSUMER, scene.consumer.pid())]),
    };
    let bomb: Outcome = stage.load(&load)?.finish(&stage.interrupt, APPLIED_WITHIN, || scene.check())?;
    let posted = Instant::now();
    let refused: u64 =
        bomb.answers.iter().filter(|(status, _)| **status != 200).map(|(_, count)| count).sum();
    let (sent, accepted) = (bomb.sent as f64 / bomb.seconds, bomb.reports as f64 / bomb.seconds);
    setup.say(
        "bomb",
        round,
        &format!(
            "{} updates answered 200 after {:.1} s, {refused} requests refused",
            bomb.reports, bomb.seconds
        ),
    );
    stage.interrupt.until("the bomb to be applied", APPLIED_WITHIN, || {
        scene.check()?;
        let ledger = stage.redis.ledger(Provider::Niu)?;
        Ok::<_, Failure>((ledger.settled == ledger.accepted).then_some(()))
    })?;
    let applied_seconds = posted.elapsed().as_secs_f64();
    let (others, [api, consumer]) = close(stage, scene)?;
    let rows = stage.sql.number("SELECT count(*) FROM telemetry WHERE provider = 'niu'")?;
    if u64::try_from(rows) != Ok(bomb.reports) {
        return Err(Failure::measurement(format!(
            "{} updates became {rows} rows of telemetry",
            bomb.reports
        )));
    }
    let freshness = others.seen.all.p99_ms;
    setup.say(
        "bomb",
        round,
        &format!("applied {applied_seconds:.1} s later; others' freshness p99 {freshness:.0} ms"),
    );
    report.note("updates", "", bomb.reports as f64);
    report.note("requests sent, those sent again included", "/s", sent);
    report.note("requests refused", "", refused as f64);
    report.note("updates accepted", "/s", accepted);
    report.note("updates answered 200 after", "s", bomb.seconds);
    report.note("applied after the last answer", "s", applied_seconds);
    report.note("updates answered 200 and applied after", "s", bomb.seconds + applied_seconds);
    for (name, part) in [("API", API), ("Redis", REDIS), ("consumer", CONSUMER), ("PostgreSQL", POSTGRES)] {
        let micros = bomb.cpu_micros.get(part).copied().unwrap_or(f64::NAN);
        report.note(format!("CPU while it is posted, {name}"), "% of a core", micros / bomb.seconds / 1e4);
    }
    note_others(report, &others, "beside the bomb");
    report.note("API: most resident", "MiB", api as f64 / MIB);
    report.note("consumer: most resident", "MiB", consumer as f64 / MIB);
    Ok(())
}

/// Measures the memory of both while a consumer processes a backlog and the API continues to accept webhooks.
fn backlog(setup: &Setup, stage: &mut Stage, report: &mut Report, messages: u32) -> Result<(), Failure> {
    stage.clear()?;
    eprintln!("bomb: {messages} messages waiting");
    stage.redis.fill(Provider::Niu, messages, VEHICLES)?;
    let mut scene = start(stage)?;
    let end = Instant::now() + setup.seconds(30, 2);
    stage.interrupt.until("half a minute of work on the backlog", APPLIED_WITHIN, || {
        scene.check()?;
        Ok::<_, Failure>((Instant::now() >= end).then_some(()))
    })?;
    let settled = stage.redis.ledger(Provider::Niu)?.settled;
    let (_others, [api, consumer]) = close(stage, scene)?;
    if settled == 0 {
        return Err(Failure::measurement("no message of the backlog was settled"));
    }
    report.note("messages, large backlog", "", f64::from(messages));
    report.note("API: most resident, large backlog", "MiB", api as f64 / MIB);
    report.note("consumer: most resident, large backlog", "MiB", consumer as f64 / MIB);
    Ok(())
}

fn note_others(report: &mut Report, others: &Others, when: &str) {
    for (provider, latency) in &others.answers {
        report.note(format!("{}: answers p99 {when}", provider.slug()), "ms", latency.p99_ms);
    }
    for (slug, latency) in &others.seen.by_provider {
        report.note(format!("{slug}: freshness p99 {when}"), "ms", latency.p99_ms);
        report.note(format!("{slug}: freshness p50 {when}"), "ms", latency.p50_ms);
    }
}

fn set(stage: &mut Stage) -> Result<Scene, Failure> {
    stage.clear()?;
    start(stage)
}

fn start(stage: &Stage) -> Result<Scene, Failure> {
    let (api, consumer) = (stage.api(&[])?, stage.consumer()?);
    let mut others = Vec::new();
    for provider in OTHERS {
        let load = Load {
            target: api.address,
            connections: 16,
            threads: 1,
            traffic: Traffic::Fresh { providers: vec![provider], vehicles: 2_667 },
            per_second: Some(OTHERS_PER_SECOND),
            warm_up: Duration::from_millis(200),
            end: End::StdinCloses,
            watched: stage.watch(&[]),
        };
        others.push((provider, stage.load(&load)?));
    }
    let looking = Freshness {
        target: api.address,
        database_url: stage.database_url(),
        providers: OTHERS.to_vec(),
        end: End::StdinCloses,
    };
    let looking = stage.tool("freshness", &looking)?;
    Ok(Scene { api, consumer, others, looking })
}

/// Stops everything in order. Also returns the peak memory of the API and the consumer, bytes.
fn close(stage: &Stage, mut scene: Scene) -> Result<(Others, [u64; 2]), Failure> {
    scene.check()?;
    let minute = Duration::from_mins(1);
    scene.looking.close_stdin();
    let seen = scene.looking.finish(&stage.interrupt, minute * 3, || Ok(()))?;
    let mut answers = Vec::new();
    for (provider, mut load) in scene.others {
        load.close_stdin();
        let outcome: Outcome = load.finish(&stage.interrupt, minute, || Ok(()))?;
        outcome.require_all_accepted(&format!("the API, to {},", provider.slug()))?;
        answers.push((provider, outcome.latency));
    }
    let peaks = [usage::memory(scene.api.running.pid())?.peak, usage::memory(scene.consumer.pid())?.peak];
    scene.api.running.stop(&stage.interrupt)?;
    scene.consumer.stop(&stage.interrupt)?;
    Ok((Others { answers, seen }, peaks))
}

impl Scene {
    fn check(&mut self) -> Result<(), Failure> {
        self.api.running.check()?;
        self.consumer.check()?;
        self.looking.check()?;
        self.others.iter_mut().try_for_each(|(_, load)| load.check())
    }
}
