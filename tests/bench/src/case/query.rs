//! The query service with a fleet that changes all the time, compared with a query of PostgreSQL for each request.

mod scene;

use std::time::{Duration, Instant};

use self::scene::{Ask, Scene, close, require_vehicles, set};
use super::setup::{API, CONSUMER, POSTGRES, Setup};
use crate::cities;
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report};
use crate::load::{End, Load, Outcome, Traffic};
use crate::provider::Provider;
use crate::reference_sql;
use crate::stage::{Front, Stage};
use crate::streams::{Streamed, Streams};
use crate::usage::{self, Watched};

const CONNECTIONS: usize = 32;
const MIB: f64 = 1024.0 * 1024.0;

const QUERY: &str = "query";
const REFERENCE: &str = "reference";

/// The server processes of the query service's connections.
const BACKENDS: &str = "SELECT pid::int8 FROM pg_stat_activity \
     WHERE application_name = 'fleet-query-api' AND datname = current_database()";

pub(super) fn run(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let [few, many] = setup.size([10_000, 100_000], [1_000, 2_000]);
    let streams = setup.size(1_000, 20);
    for round in 1..=setup.rounds {
        for vehicles in [few, many] {
            let mut scene = set(setup, stage, vehicles)?;
            let product = product(setup, stage, report, &mut scene, (vehicles == many).then_some(streams))?;
            let reference = reference(setup, stage, report, &mut scene)?;
            close(stage, scene)?;
            for (ask, (product, reference)) in Ask::ALL.iter().zip(product.iter().zip(&reference)) {
                let what = format!("{vehicles}: {}", ask.name());
                let (rate, latency) = (product.rate / reference.rate, product.p99_ms / reference.p99_ms);
                setup.say(
                    "query",
                    round,
                    &format!("{what}: {rate:.1} times the rate, {latency:.2} of the p99"),
                );
                report.note(format!("{what}: rate ÷ reference"), "", rate);
                report.note(format!("{what}: p99 ÷ reference"), "", latency);
            }
        }
    }
    ask(report, few, many, streams);
    Ok(())
}

fn ask(report: &mut Report, few: u32, many: u32, streams: u32) {
    let mut must = |name: String, bound: Bound| report.ask(&name, Kind::Must, bound);
    for vehicles in [few, many] {
        for ask in [Ask::Box, Ask::Near] {
            let name = ask.name();
            must(format!("{vehicles}: {name}: rate ÷ reference"), Bound::AtLeast(5.0));
            must(format!("{vehicles}: {name}: p99 ÷ reference"), Bound::AtMost(0.5));
        }
    }
    must(format!("{few}: reads, PostgreSQL"), Bound::AtMost(5.0));
    must(format!("{many}: start until ready"), Bound::AtMost(3.0));
    must(format!("{many}: {streams} streams: query service"), Bound::AtMost(50.0));
    must(format!("{many}: {streams} streams: most resident"), Bound::AtMost(256.0));
    must(format!("{many}: {streams} streams: change visible, p99"), Bound::AtMost(700.0));
}

/// How fast one kind of requests is answered.
struct Answered {
    rate: f64,
    p99_ms: f64,
}

/// Measures the query service.
fn product(
    setup: &Setup,
    stage: &Stage,
    report: &mut Report,
    scene: &mut Scene,
    streamed: Option<u32>,
) -> Result<Vec<Answered>, Failure> {
    let vehicles = scene.vehicles;
    let started = Instant::now();
    let mut query = stage.query()?;
    report.note(format!("{vehicles}: start until ready"), "s", started.elapsed().as_secs_f64());
    let answered = answers(setup, stage, report, scene, &mut query, QUERY)?;
    reads(setup, stage, report, scene, &query)?;
    let resident = usage::memory(query.running.pid())?.peak;
    report.note(format!("{vehicles}: most resident"), "MiB", resident as f64 / MIB);
    if let Some(count) = streamed {
        streams(setup, stage, report, scene, &query, count)?;
    }
    query.running.stop(&stage.interrupt)?;
    Ok(answered)
}

/// Measures the reference.
fn reference(
    setup: &Setup,
    stage: &Stage,
    report: &mut Report,
    scene: &mut Scene,
) -> Result<Vec<Answered>, Failure> {
    stage.sql.run(reference_sql::INDEX)?;
    stage.sql.run("VACUUM ANALYZE vehicles")?;
    let mut reference = stage.reference("sql")?;
    let answered = answers(setup, stage, report, scene, &mut reference, REFERENCE)?;
    reference.running.end();
    Ok(answered)
}

fn answers(
    setup: &Setup,
    stage: &Stage,
    report: &mut Report,
    scene: &mut Scene,
    front: &mut Front,
    name: &str,
) -> Result<Vec<Answered>, Failure> {
    let mut all = Vec::new();
    for ask in Ask::ALL {
        let paths = scene.paths(ask);
        require_vehicles(front.address, ask, &paths)?;
        let mut load = Load {
            target: front.address,
            connections: CONNECTIONS,
            threads: 1,
            traffic: Traffic::Get { paths },
            per_second: None,
            warm_up: setup.size(Duration::from_millis(500), Duration::from_millis(200)),
            end: End::After(setup.seconds(3, 1)),
            watched: stage.watch(&[(name, front.running.pid())]),
        };
        let mut measure = |load: &Load| -> Result<Outcome, Failure> {
            let outcome: Outcome =
                stage.load(load)?.finish(&stage.interrupt, Duration::from_mins(1), || {
                    front.running.check()?;
                    scene.check()
                })?;
            outcome.require_all_accepted(name)?;
            Ok(outcome)
        };
        let unbounded = measure(&load)?;
        load.per_second = Some(ask.per_second());
        let paced = measure(&load)?;
        let what = format!("{}: {}: {name}", scene.vehicles, ask.name());
        let rate = unbounded.accepted_per_second();
        report.note(format!("{what}: requests"), "/s", rate);
        report.note(format!("{what}: CPU a request, itself"), "µs", unbounded.cpu_a_request(&[name]));
        report.note(format!("{what}: CPU a request, PostgreSQL"), "µs", unbounded.cpu_a_request(&[POSTGRES]));
        report.note(format!("{what}: p50 at {}/s", ask.per_second()), "ms", paced.latency.p50_ms);
        report.note(format!("{what}: p99 at {}/s", ask.per_second()), "ms", paced.latency.p99_ms);
        all.push(Answered { rate, p99_ms: paced.latency.p99_ms });
    }
    Ok(all)
}

/// Measures what it costs the database to keep the service up to date.
fn reads(
    setup: &Setup,
    stage: &Stage,
    report: &mut Report,
    scene: &mut Scene,
    query: &Front,
) -> Result<(), Failure> {
    let watched = backends(stage)?;
    let own: Watched = [(QUERY.to_owned(), query.running.pid())].into();
    let settled = || stage.redis.ledger(Provider::Niu).map(|ledger| ledger.settled);
    let (before, own_before, stored) = (usage::cpu(&watched)?, usage::cpu(&own)?, settled()?);
    let started = Instant::now();
    stage.interrupt.sleep(setup.seconds(8, 2))?;
    scene.check()?;
    let seconds = started.elapsed().as_secs_f64();
    let backends: f64 = usage::since(&before, &usage::cpu(&watched)?).values().sum();
    let service: f64 = usage::since(&own_before, &usage::cpu(&own)?).values().sum();
    let vehicles = scene.vehicles;
    report.note(format!("{vehicles}: reads, PostgreSQL"), "% of a core", backends / seconds / 1e4);
    report.note(format!("{vehicles}: reads, query service"), "% of a core", service / seconds / 1e4);
    report.note(format!("{vehicles}: changes stored"), "/s", (settled()? - stored) as f64 / seconds);
    Ok(())
}

fn backends(stage: &Stage) -> Result<Watched, Failure> {
    let rows = stage.sql.rows(BACKENDS, &[])?;
    let mut watched = Watched::new();
    for row in &rows {
        let pid = u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default();
        watched.insert(pid.to_string(), pid);
    }
    if watched.is_empty() {
        return Err(Failure::measurement("the query service has no connection to PostgreSQL"));
    }
    Ok(watched)
}

/// Measures many streams, and how long a change takes until one of them has it.
fn streams(
    setup: &Setup,
    stage: &Stage,
    report: &mut Report,
    scene: &mut Scene,
    query: &Front,
    count: u32,
) -> Result<(), Failure> {
    let parts =
        [(API, scene.api.running.pid()), (CONSUMER, scene.consumer.pid()), (QUERY, query.running.pid())];
    let streams = Streams {
        target: query.address,
        api: scene.api.address,
        streams: count,
        cities: cities::cities(scene.vehicles),
        measured: setup.seconds(12, 2),
        watched: stage.watch(&parts),
    };
    let streamed: Streamed =
        stage
            .tool("streams", &streams)?
            .finish(&stage.interrupt, Duration::from_mins(3), || scene.check())?;
    let resident = usage::memory(query.running.pid())?.peak;
    let percent =
        |name: &str| streamed.cpu_micros.get(name).map_or(f64::NAN, |micros| micros / streamed.seconds / 1e4);
    let what = format!("{}: {count} streams", scene.vehicles);
    report.note(format!("{what}: all snapshots after"), "s", streamed.snapshots_seconds);
    report.note(format!("{what}: query service"), "% of a core", percent(QUERY));
    report.note(format!("{what}: PostgreSQL"), "% of a core", percent(POSTGRES));
    let reader = streamed.own_cpu_micros / streamed.seconds / 1e4;
    report.note(format!("{what}: their reader"), "% of a core", reader);
    report.note(format!("{what}: bytes"), "MB/s", streamed.bytes as f64 / streamed.seconds / 1e6);
    report.note(format!("{what}: most resident"), "MiB", resident as f64 / MIB);
    report.note(format!("{what}: change visible, p50"), "ms", streamed.visible.p50_ms);
    report.note(format!("{what}: change visible, p99"), "ms", streamed.visible.p99_ms);
    report.note(format!("{what}: changes looked for"), "", streamed.samples as f64);
    Ok(())
}
