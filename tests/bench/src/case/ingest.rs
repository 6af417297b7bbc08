//! Measures CPU time and latency for each webhook.

use std::time::Duration;

use super::setup::{API, REDIS, Setup};
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report, median};
use crate::load::{End, Load, Outcome, Traffic};
use crate::provider::Provider;
use crate::stage::{Front, Stage};

const CONNECTIONS: usize = 64;
const VEHICLES: u32 = 5_000;

/// The rate for all takers when latency is compared. Far below what any of them can accept.
const OFFERED_PER_SECOND: f64 = 3_000.0;

/// How often in a round each taker's latency is measured.
const LATENCY_TURNS: usize = 6;

/// The server that accepts the webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taker {
    /// The API as shipped.
    Product,
    /// Reads the body and responds with 200.
    Bare,
    /// Sends one LPUSH for each request.
    Lpush,
}

impl Taker {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Bare => "(a) bare",
            Self::Lpush => "(b) LPUSH",
        }
    }

    /// Starts it with an empty Redis.
    pub(super) fn start(self, stage: &Stage) -> Result<Front, Failure> {
        stage.redis.flush()?;
        match self {
            Self::Product => stage.api(&[]),
            Self::Bare => stage.reference("bare"),
            Self::Lpush => stage.reference("lpush"),
        }
    }

    /// The processes whose CPU time a webhook costs.
    pub(super) fn payers(self) -> &'static [&'static str] {
        match self {
            Self::Product | Self::Lpush => &[API, REDIS],
            Self::Bare => &[API],
        }
    }
}

pub(super) fn run(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    stage.redis.set_appendfsync("everysec")?;
    for provider in Provider::ALL {
        for round in 1..=setup.rounds {
            let fronts = [
                (Taker::Product, Taker::Product.start(stage)?),
                (Taker::Bare, Taker::Bare.start(stage)?),
                (Taker::Lpush, Taker::Lpush.start(stage)?),
            ];
            // Latency first, before the disk is busy with much data.
            let [product, bare, _lpush] = compare_latency(setup, stage, report, provider, round, &fronts)?;
            let slug = provider.slug();
            report.note(format!("{slug}: p99 ÷ (a)"), "", product / bare);
            let [product, bare, lpush] = compare_cost(setup, stage, report, provider, round, fronts)?;
            report.note(format!("{slug}: CPU ÷ (a)"), "", product / bare);
            report.note(format!("{slug}: CPU ÷ (b)"), "", product / lpush);
        }
    }
    for provider in Provider::ALL {
        let slug = provider.slug();
        let most = if provider == Provider::Segway { 1.75 } else { 1.6 };
        report.ask(&format!("{slug}: CPU ÷ (a)"), Kind::Must, Bound::AtMost(most));
        if provider == Provider::Niu {
            report.ask("niu: CPU ÷ (a)", Kind::Aim, Bound::AtMost(1.4));
            report.ask("niu: CPU ÷ (b)", Kind::Must, Bound::AtMost(1.0));
        }
        if provider == Provider::Segway {
            report.ask("segway: CPU ÷ (a)", Kind::Aim, Bound::AtMost(1.6));
        }
        report.ask(&format!("{slug}: p99 ÷ (a)"), Kind::Must, Bound::AtMost(2.0));
    }
    Ok(())
}

/// The p99 of each taker, ms. They alternate every few seconds, so that other load on the machine affects all
/// of them, and the median ignores it.
fn compare_latency(
    setup: &Setup,
    stage: &Stage,
    report: &mut Report,
    provider: Provider,
    round: u32,
    fronts: &[(Taker, Front); 3],
) -> Result<[f64; 3], Failure> {
    let turns = setup.size(LATENCY_TURNS, 1);
    let mut p50s_ms = [const { Vec::new() }; 3];
    let mut p99s_ms = [const { Vec::new() }; 3];
    for turn in 0..turns {
        // Rotates the order, because the disk still writes one taker's data while the next one is measured.
        for place in 0..fronts.len() {
            let index = (turn + place) % fronts.len();
            let (taker, front) = &fronts[index];
            stage.redis.flush()?;
            let paced = post(setup, stage, front, provider, Some(OFFERED_PER_SECOND))?;
            paced.require_all_accepted(&what(provider, *taker))?;
            p50s_ms[index].push(paced.latency.p50_ms);
            p99s_ms[index].push(paced.latency.p99_ms);
        }
    }
    let [p50_ms, p99_ms] = [p50s_ms, p99s_ms].map(|figures| figures.map(|turns| median(&turns)));
    for (index, (taker, _front)) in fronts.iter().enumerate() {
        let what = what(provider, *taker);
        setup.say("ingest", round, &format!("{what}: p99 {:.2} ms", p99_ms[index]));
        report.note(format!("{what}: p50 at {OFFERED_PER_SECOND:.0}/s"), "ms", p50_ms[index]);
        report.note(format!("{what}: p99 at {OFFERED_PER_SECOND:.0}/s"), "ms", p99_ms[index]);
    }
    Ok(p99_ms)
}

/// The CPU microseconds for each taker's webhook at full speed.
fn compare_cost(
    setup: &Setup,
    stage: &Stage,
    report: &mut Report,
    provider: Provider,
    round: u32,
    fronts: [(Taker, Front); 3],
) -> Result<[f64; 3], Failure> {
    let mut costs = [0.0; 3];
    for (cost, (taker, front)) in costs.iter_mut().zip(fronts) {
        stage.redis.flush()?;
        let full = post(setup, stage, &front, provider, None)?;
        front.running.end();
        let what = what(provider, taker);
        full.require_all_accepted(&what)?;
        *cost = full.cpu_a_request(taker.payers());
        let rate = full.accepted_per_second();
        setup.say("ingest", round, &format!("{what}: {rate:.0}/s, {cost:.1} us a webhook"));
        report.note(format!("{what}: CPU a webhook"), "µs", *cost);
        if taker == Taker::Product {
            report.note(format!("{what}: of it the API"), "µs", full.cpu_a_request(&[API]));
            report.note(format!("{what}: of it Redis"), "µs", full.cpu_a_request(&[REDIS]));
            let generator = full.own_cpu_micros / full.accepted() as f64;
            report.note(format!("{what}: load generator beside it"), "µs", generator);
        }
        report.note(format!("{what}: throughput"), "/s", rate);
    }
    Ok(costs)
}

fn what(provider: Provider, taker: Taker) -> String {
    format!("{}: {}", provider.slug(), taker.name())
}

fn post(
    setup: &Setup,
    stage: &Stage,
    front: &Front,
    provider: Provider,
    per_second: Option<f64>,
) -> Result<Outcome, Failure> {
    let load = Load {
        target: front.address,
        connections: CONNECTIONS,
        threads: 1,
        traffic: Traffic::Repeated { provider, vehicles: VEHICLES },
        per_second,
        warm_up: Duration::from_millis(setup.size(1_000, 300)),
        end: End::After(if per_second.is_some() { setup.seconds(2, 1) } else { setup.seconds(5, 1) }),
        watched: stage.watch(&[(API, front.running.pid())]),
    };
    stage.load(&load)?.finish(&stage.interrupt, Duration::from_mins(1), || Ok(()))
}
