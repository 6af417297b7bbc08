//! CPU and latency a webhook.

use std::time::Duration;

use super::{API, REDIS, Setup};
use crate::failure::Failure;
use crate::load::{End, Load, Outcome, Traffic};
use crate::provider::Provider;
use crate::report::{Bound, Kind, Report};
use crate::stage::{Front, Stage};

const CONNECTIONS: usize = 64;
const VEHICLES: u32 = 5_000;

/// Offered to all alike where latency is compared; well under what any of them takes.
const OFFERED_PER_SECOND: f64 = 3_000.0;

/// Who takes the webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taker {
    /// The API as shipped.
    Product,
    /// Reads the body and answers 200.
    Bare,
    /// One LPUSH a request.
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

    /// Starts it on an empty Redis.
    pub(super) fn start(self, stage: &Stage) -> Result<Front, Failure> {
        stage.redis.flush()?;
        match self {
            Self::Product => stage.api(&[]),
            Self::Bare => stage.reference("bare"),
            Self::Lpush => stage.reference("lpush"),
        }
    }

    /// Whose CPU a webhook costs.
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
            let takers = [Taker::Product, Taker::Bare, Taker::Lpush];
            let mut costs = Vec::new();
            for taker in takers {
                costs.push(measure(setup, stage, report, provider, taker, round)?);
            }
            let [product, bare, lpush] = costs.as_slice() else { continue };
            let slug = provider.slug();
            report.note(format!("{slug}: CPU ÷ (a)"), "", product.cpu_micros / bare.cpu_micros);
            report.note(format!("{slug}: CPU ÷ (b)"), "", product.cpu_micros / lpush.cpu_micros);
            report.note(format!("{slug}: p99 ÷ (a)"), "", product.p99_ms / bare.p99_ms);
        }
    }
    for provider in Provider::ALL {
        let slug = provider.slug();
        let most = if provider == Provider::Segway { 1.9 } else { 1.6 };
        report.ask(&format!("{slug}: CPU ÷ (a)"), Kind::Must, Bound::AtMost(most));
        if provider == Provider::Niu {
            report.ask("niu: CPU ÷ (a)", Kind::Aim, Bound::AtMost(1.4));
            report.ask("niu: CPU ÷ (b)", Kind::Must, Bound::AtMost(1.0));
        }
        report.ask(&format!("{slug}: p99 ÷ (a)"), Kind::Must, Bound::AtMost(2.0));
    }
    Ok(())
}

struct Cost {
    cpu_micros: f64,
    p99_ms: f64,
}

fn measure(
    setup: &Setup,
    stage: &Stage,
    report: &mut Report,
    provider: Provider,
    taker: Taker,
    round: u32,
) -> Result<Cost, Failure> {
    let front = taker.start(stage)?;
    // First, before there is much for the disk to write behind it.
    let paced = post(setup, stage, &front, provider, Some(OFFERED_PER_SECOND))?;
    let full = post(setup, stage, &front, provider, None)?;
    front.running.end();
    let what = format!("{}: {}", provider.slug(), taker.name());
    full.require_all_accepted(&what)?;
    paced.require_all_accepted(&what)?;
    let cpu_micros = full.cpu_a_request(taker.payers());
    let p99_ms = paced.latency.p99_ms;
    let (rate, p50_ms) = (full.accepted_per_second(), paced.latency.p50_ms);
    setup.say(
        "ingest",
        round,
        &format!("{what}: {rate:.0}/s, {cpu_micros:.1} us a webhook, p99 {p99_ms:.2} ms"),
    );
    report.note(format!("{what}: CPU a webhook"), "µs", cpu_micros);
    if taker == Taker::Product {
        report.note(format!("{what}: of it the API"), "µs", full.cpu_a_request(&[API]));
        report.note(format!("{what}: of it Redis"), "µs", full.cpu_a_request(&[REDIS]));
        let generator = full.own_cpu_micros / full.accepted() as f64;
        report.note(format!("{what}: load generator beside it"), "µs", generator);
    }
    report.note(format!("{what}: throughput"), "/s", rate);
    report.note(format!("{what}: p50 at {OFFERED_PER_SECOND:.0}/s"), "ms", p50_ms);
    report.note(format!("{what}: p99 at {OFFERED_PER_SECOND:.0}/s"), "ms", p99_ms);
    Ok(Cost { cpu_micros, p99_ms })
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
        end: End::After(setup.seconds(5, 1)),
        watched: stage.watch(&[(API, front.running.pid())]),
    };
    stage.load(&load)?.finish(&stage.interrupt, Duration::from_mins(1), || Ok(()))
}
