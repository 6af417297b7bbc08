//! The script of the day, and its requirements.

use std::path::Path;
use std::time::{Duration, Instant};

use fleet_testbed::DatabaseLogin;

use super::day::Day;
use super::forecast::Forecast;
use super::load::Load;
use super::plan::{BACKLOG, Plan};
use super::plot;
use super::pool::Pool;
use super::stage::Stage;
use super::timeline::Phase;
use super::verdict::{self, Verdict};
use crate::refuse::refuse;
use fleet_harness::{Failure, Interrupt};

/// The tolerance of a wait, because starting and stopping processes takes time.
const SLACK: Duration = Duration::from_secs(30);

/// Idle consumers check for messages every 50 ms or more often.
const CLAIMED_WITHIN: Duration = Duration::from_millis(200);

/// The metrics must show this part of the bomb's bytes before the wait for its end begins.
const SHOWN: f64 = 0.9;

/// Runs the day, plots it and judges it.
pub(super) fn play(
    plan: &Plan,
    bin_dir: &Path,
    logs: &Path,
    plot: &Path,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    println!("{}", plan.describe());
    let stage = Stage::set(plan, bin_dir, logs, interrupt)?;
    let mut api = stage.start_api(interrupt)?;
    let load = Load::start(stage.api_port());
    let mut day = Day::new(plan, load, Pool::new(&stage, plan), &mut api, interrupt);
    let mut verdict = Verdict::default();
    let outcome = act(&mut day, &mut verdict);
    let drawn = plot::write(plot, plan, &day.timeline);
    outcome?;
    drawn?;
    println!();
    count(&mut day, &stage, &mut verdict, interrupt)?;
    println!("\nplot: {}", plot.display());
    if verdict.failed().is_empty() {
        println!("OK: the day met all requirements");
        return Ok(());
    }
    Err(refuse(format!("not met: {}", verdict.failed().join("; "))))
}

fn act(day: &mut Day<'_>, verdict: &mut Verdict) -> Result<(), Failure> {
    let plan = day.plan;
    day.load.set_rate(plan.night());
    day.begin()?;
    day.spend(Phase::Night, plan.day_seconds(120))?;
    day.load.set_rate(plan.rush_hour());
    day.spend(Phase::RushHour, plan.day_seconds(240))?;
    let min = plan.rules().min_replicas;
    let [night, rush] = [Phase::Night, Phase::RushHour].map(|phase| verdict::most(&day.timeline, phase));
    println!();
    verdict.require(
        "the night needs the fewest replicas",
        night == min,
        &format!("{night} of at least {min}"),
    );
    verdict.require("the rush hour needs more", rush > min, &rush.to_string());
    println!();
    bomb(day, verdict)?;
    hang(day, verdict)?;
    evening(day, verdict)?;
    rollout(day, verdict)
}

/// Sends the bomb during the night's load. The backlog must be empty within the forecast.
fn bomb(day: &mut Day<'_>, verdict: &mut Verdict) -> Result<(), Failure> {
    let plan = day.plan;
    day.load.set_rate(plan.night());
    let forecast = Forecast::new(plan, plan.night() * plan.event_bytes);
    println!("{}", forecast.arithmetic);
    let events = plan.choice.bomb_events;
    let shown = day.accepted_bytes() + SHOWN * forecast.bytes;
    let small = plan.target(BACKLOG) * f64::from(plan.rules().min_replicas);
    let within = forecast.within * 2 + SLACK;
    day.load.send_bomb(events);
    let accepted = day.until(Phase::Bomb, within, "the last 200 response to the bomb", |day| {
        day.load.bomb_accepted() >= events
    })?;
    let gone = day.until(Phase::Bomb, within, "the end of the bomb's backlog", |day| {
        day.accepted_bytes() >= shown && day.backlog_bytes() < small
    })?;
    let (took, seconds) = (accepted + gone, Duration::as_secs_f64);
    println!();
    let (max, most) = (plan.rules().max_replicas, verdict::most(&day.timeline, Phase::Bomb));
    verdict.require("the bomb drives the replicas to the maximum", most == max, &format!("{most} of {max}"));
    verdict.require(
        "its backlog is gone within the forecast",
        took <= forecast.within,
        &format!(
            "{:.1} s of {:.1} s, of which the API took {:.1} s to accept it",
            seconds(&took),
            seconds(&forecast.within),
            seconds(&accepted)
        ),
    );
    let takeovers = day.pool.takeovers();
    verdict.require(
        "no batch changed hands while replicas were added",
        takeovers == 0,
        &format!("{takeovers} taken over"),
    );
    println!();
    Ok(())
}

/// Freezes one consumer at full load. The kubelet must restart it, and the others must take over its batches.
fn hang(day: &mut Day<'_>, verdict: &mut Verdict) -> Result<(), Failure> {
    let plan = day.plan;
    day.load.set_rate(plan.peak());
    give_work(day, Phase::Hang, plan.rules().max_replicas)?;
    let (before, restarts) = (day.pool.takeovers(), day.pool.restarts.len());
    let frozen = Instant::now();
    let name = day.pool.freeze_one()?;
    let liveness = plan.workload.liveness;
    let noticed_within = (liveness.period + liveness.timeout) * (liveness.failures + 1);
    let noticed = day.until(Phase::Hang, noticed_within + SLACK, "the failed liveness probe", |day| {
        day.pool.restarts.len() > restarts
    })?;
    day.until(Phase::Hang, plan.workload.grace + SLACK, "the replacement of the frozen replica", |day| {
        day.pool.is_back(&name)
    })?;
    let replaced = frozen.elapsed();
    // A lease expires at most one lease period after the last heartbeat. Other consumers check for expired
    // leases ten times in that period.
    let lease = plan.lease.mul_f64(1.5).saturating_sub(replaced) + plan.status_interval;
    day.spend(Phase::Hang, lease)?;
    let taken = day.pool.takeovers() - before;
    println!();
    let found: Vec<&str> = day.pool.restarts.iter().map(|restart| restart.name.as_str()).collect();
    verdict.require(
        "the replica that hangs, and no other, is found and replaced",
        found == [name.as_str()],
        &format!(
            "{} after {:.1} s, ready again after {:.1} s",
            found.join(", "),
            noticed.as_secs_f64(),
            replaced.as_secs_f64()
        ),
    );
    verdict.require("its batches are taken over", taken > 0, &format!("{taken} batches"));
    println!();
    Ok(())
}

/// The load ends and the replicas scale down, except while the metrics are unavailable.
fn evening(day: &mut Day<'_>, verdict: &mut Verdict) -> Result<(), Failure> {
    let plan = day.plan;
    let (rules, before) = (plan.rules(), day.pool.takeovers());
    let (stopped, steps) = (day.pool.asked_to_stop, rules.max_replicas - rules.min_replicas);
    day.load.set_rate(plan.night());
    let period = rules.down.policies.iter().map(|policy| policy.period).max().unwrap_or_default();
    day.until(Phase::Evening, rules.down.window * 2 + SLACK, "the first scale-down", |day| {
        day.pool.len() < rules.max_replicas
    })?;
    day.lose_source();
    day.spend(Phase::SourceGone, period.mul_f64(1.5))?;
    day.restore_source();
    let (most, fewest) =
        (verdict::most(&day.timeline, Phase::SourceGone), verdict::fewest(&day.timeline, Phase::SourceGone));
    day.until(
        Phase::LateEvening,
        rules.down.window + period * (steps + 2) + SLACK,
        "the fewest replicas",
        |day| day.pool.len() == rules.min_replicas && !day.pool.is_leaving(),
    )?;
    day.spend(Phase::LateEvening, period)?;
    println!();
    let wanted = day.informed_wanted.unwrap_or(most);
    verdict.require(
        "without a source of metrics no replica goes",
        most == fewest && wanted < fewest,
        &format!("{fewest} to {most} replicas, where a controller that knew went to {wanted}"),
    );
    let fall = verdict::scale_down_steps(&day.timeline);
    let shown: Vec<String> = fall.iter().map(u32::to_string).collect();
    verdict.require(
        "the replicas fall to the minimum without a reversal",
        verdict::is_monotone(&fall) && fall.last() == Some(&rules.min_replicas),
        &shown.join(", "),
    );
    let (taken, stopped) = (day.pool.takeovers() - before, day.pool.asked_to_stop - stopped);
    verdict.require(
        "a scale-down leaves no batch behind",
        taken == 0 && verdict::oldest_during_scale_down(&day.timeline) < plan.lease,
        &format!(
            "{taken} taken over in {stopped} scale-downs, no message older than {:.1} s (a lease is {:.1} s)",
            verdict::oldest_during_scale_down(&day.timeline).as_secs_f64(),
            plan.lease.as_secs_f64()
        ),
    );
    Ok(())
}

/// Stops one consumer while it has batches in flight. It must finish them.
fn rollout(day: &mut Day<'_>, verdict: &mut Verdict) -> Result<(), Failure> {
    let plan = day.plan;
    give_work(day, Phase::Rollout, day.pool.len())?;
    let before = day.pool.takeovers();
    day.pool.stop_oldest()?;
    let took =
        day.until(Phase::Rollout, SLACK, "the end of the stopped replica", |day| !day.pool.is_leaving())?;
    // If the consumer had left a batch, another one would have taken it over by now.
    day.spend(Phase::Rollout, (plan.status_interval + plan.scrape) * 2)?;
    day.until(Phase::Rollout, SLACK, "the end of the burst's backlog", |day| {
        day.backlog_bytes() < plan.target(BACKLOG) && day.pool.ready() > 0
    })?;
    let taken = day.pool.takeovers() - before;
    println!();
    verdict.require(
        "a replica that is stopped finishes the batches it has",
        taken == 0,
        &format!("{taken} given back, stopped within {:.1} s", took.as_secs_f64()),
    );
    Ok(())
}

/// Sends a burst that gives this many consumers batches, and returns when they have claimed them.
fn give_work(day: &mut Day<'_>, phase: Phase, replicas: u32) -> Result<(), Failure> {
    let burst = day.plan.burst(replicas);
    let accepted = day.load.bomb_accepted() + burst;
    day.load.send_bomb(burst);
    day.until(phase, SLACK, "the last 200 response to the burst", |day| {
        day.load.bomb_accepted() >= accepted
    })?;
    day.spend(phase, CLAIMED_WITHIN)
}

/// Checks, after everything has stopped, that nothing is lost.
fn count(
    day: &mut Day<'_>,
    stage: &Stage<'_>,
    verdict: &mut Verdict,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let plan = day.plan;
    let accepted = day.load.stop();
    // Waits until the metrics include everything up to the last 200.
    day.spend(Phase::Rollout, (plan.status_interval + plan.scrape) * 3)?;
    day.until(Phase::Rollout, SLACK, "an empty backlog", |day| day.backlog_bytes() < 1.0)?;
    day.end()?;
    let (asked, graceful) = (day.pool.asked_to_stop, day.pool.graceful);
    verdict.require(
        "every replica that was asked to stop ended with status 0",
        asked == graceful,
        &format!("{graceful} of {asked}"),
    );
    let panicked = day.pool.panicked();
    verdict.require("none panicked", panicked.is_empty(), &format!("[{}]", panicked.join(", ")));
    let (telemetry, dead) = (stage.rows("telemetry")?, stage.rows("dead_letters")?);
    verdict.require(
        "every event answered 200 is stored once",
        telemetry == accepted && dead == 0,
        &format!(
            "{accepted} accepted, {telemetry} rows, {dead} dead letters, {} webhooks sent again",
            day.load.refused()
        ),
    );
    let balances = match stage.consumer_command("audit", DatabaseLogin::Consumer, interrupt) {
        Ok(()) => true,
        Err(Failure::Exit { .. }) => false,
        Err(failure) => return Err(failure),
    };
    verdict.require("the audit balances", balances, "fleet-consumer audit");
    Ok(())
}
