//! Measures the time from a 200 until the report is visible in SQL, under a steady load.

use std::time::Duration;

use super::setup::{API, Setup};
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report};
use crate::freshness::{Freshness, Seen};
use crate::load::{End, Load, Outcome, Traffic};
use crate::provider::Provider;
use crate::stage::Stage;

const PER_SECOND: f64 = 1_000.0;

pub(super) fn run(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    for round in 1..=setup.rounds {
        let (outcome, seen) = measure(setup, stage)?;
        let Seen { all, samples, look_ms, .. } = seen;
        setup.say(
            "freshness",
            round,
            &format!("p50 {:.1} ms, p99 {:.1} ms over {samples} vehicles", all.p50_ms, all.p99_ms),
        );
        report.note("p50", "ms", all.p50_ms);
        report.note("p99", "ms", all.p99_ms);
        report.note("most", "ms", all.max_ms);
        report.note("between two looks", "ms", look_ms);
        report.note("vehicles looked for", "", samples as f64);
        report.note("webhooks", "/s", outcome.accepted_per_second());
        report.note("answers p99", "ms", outcome.latency.p99_ms);
    }
    report.ask("p50", Kind::Must, Bound::AtMost(8.0));
    report.ask("p50", Kind::Aim, Bound::AtMost(5.0));
    report.ask("p99", Kind::Must, Bound::AtMost(40.0));
    report.ask("p99", Kind::Aim, Bound::AtMost(25.0));
    report.ask("between two looks", Kind::Must, Bound::AtMost(1.0));
    Ok(())
}

fn measure(setup: &Setup, stage: &mut Stage) -> Result<(Outcome, Seen), Failure> {
    stage.clear()?;
    let (mut api, mut consumer) = (stage.api(&[])?, stage.consumer()?);
    let (warm_up, measured) = (setup.seconds(2, 1), setup.seconds(20, 3));
    let load = Load {
        target: api.address,
        connections: 64,
        threads: 1,
        traffic: Traffic::Fresh { providers: Provider::ALL.to_vec(), vehicles: 2_667 },
        per_second: Some(PER_SECOND),
        warm_up,
        end: End::After(measured),
        watched: stage.watch(&[(API, api.running.pid())]),
    };
    let generator = stage.load(&load)?;
    stage.interrupt.sleep(warm_up)?;
    let looking = Freshness {
        target: api.address,
        database_url: stage.database_url(),
        providers: Provider::ALL.to_vec(),
        end: End::After(measured.saturating_sub(Duration::from_secs(1))),
    };
    let seen = stage.tool("freshness", &looking)?.finish(&stage.interrupt, Duration::from_mins(3), || {
        api.running.check()?;
        consumer.check()
    })?;
    let outcome: Outcome = generator.finish(&stage.interrupt, Duration::from_mins(1), || Ok(()))?;
    outcome.require_all_accepted("the API")?;
    api.running.stop(&stage.interrupt)?;
    consumer.stop(&stage.interrupt)?;
    Ok((outcome, seen))
}
