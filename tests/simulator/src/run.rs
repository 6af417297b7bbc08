//! Runs the simulation: send, wait, compare, print.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::{self, Sender as Queue};
use tokio::task::JoinSet;

use crate::cli::{RunArgs, Scenario};
use crate::compare::Mismatch;
use crate::counts::{Counts, read};
use crate::database::Database;
use crate::error::Error;
use crate::plan::Plan;
use crate::progress::{Progress, milliseconds};
use crate::publish::Publisher;
use crate::record::Record;
use crate::send::Sender;
use crate::settle::{Settled, Stores};
use crate::stall::Stall;
use crate::tables::{Ledgers, Queues, current_vehicles, telemetry_rows, vehicle_ids};
use crate::vehicle::Vehicle;
use crate::verdict::{Report, print};
use crate::wire::{Credentials, Webhook};

/// If sending falls further behind its rate than this, the lost time is skipped instead of made up for.
const MAX_LAG: Duration = Duration::from_secs(1);
/// The number of messages that may wait for the publisher, so that webhooks go on while the broker restarts.
const MAX_UNPUBLISHED: usize = 20_000;
/// The time between two reads of the counts.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// The time between two reads of the ledgers, which limits the precision of a stall.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// The deadline for each server's reply to it.
const PROBE_WITHIN: Duration = Duration::from_millis(500);
/// How far the API's clock, which dates the dead letters, may be behind ours, ms.
const CLOCK_TOLERANCE_MS: i64 = 1_000;

/// Runs the simulation and prints the result. Returns true if everything agrees.
///
/// # Errors
///
/// If the run could not be completed: see [`Error`].
pub async fn run(args: &RunArgs) -> Result<bool, Error> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let started_ms = now_ms();
    let plan = Plan::new(args.scenario, args.vehicles, seed, Credentials::from_args(args), started_ms);
    let plan = if args.amqp_url.is_some() { plan.with_broker() } else { plan };
    let fleet = plan.fleet().to_vec();
    let mut stores = stores(args)?;
    refuse_used_seed(&mut stores, &fleet, seed).await?;

    let counts = Arc::new(Counts::default());
    let record = Arc::new(Mutex::new(Record::new(&fleet)));
    let mut progress = Progress::new(args.run_for);
    let send_started = Instant::now();
    let send = send(args, plan, &counts, &record)?;
    let mut applying = Stall::default();
    let queues = stores.queues.clone();
    tokio::select! {
        () = send => {}
        () = watch(&counts, &mut stores, &fleet, &mut progress) => {}
        () = probe(queues.as_ref(), &mut applying) => {}
    }
    let send_s = send_started.elapsed().as_secs_f64();

    let record =
        std::mem::replace(&mut *record.lock().unwrap_or_else(PoisonError::into_inner), Record::new(&[]));
    let answer_stall_ms = whole_ms(record.answers.longest());
    let apply_stall_ms = queues.is_some().then(|| whole_ms(applying.longest()));
    let settle_started = Instant::now();
    let since_ms = started_ms - CLOCK_TOLERANCE_MS;
    let settled = stores.settle(&fleet, &record, args.settle_for, since_ms, &mut progress).await?;
    let settle_s = settle_started.elapsed().as_secs_f64();
    progress.finish();

    let shown = current_vehicles(&mut stores.state, &fleet).await?;
    let base = Report {
        scenario: args.scenario.name(),
        seed,
        send_s,
        settle_s,
        answer_stall_ms,
        apply_stall_ms,
        ..Report::default()
    };
    let report = filled(base, &counts, &record, &settled).judged();
    print(&report, &shown, &settled.mismatches, args.json)?;
    Ok(report.ok)
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

fn stores(args: &RunArgs) -> Result<Stores, Error> {
    let telemetry_url = args.telemetry_database_url.as_deref().unwrap_or(&args.database_url);
    let is_known = !args.redis_url.is_empty();
    let queues = is_known.then(|| Queues::new(&args.redis_url, &args.redis_prefix));
    Ok(Stores {
        state: Database::new("state", &args.database_url),
        telemetry: Database::new("telemetry", telemetry_url),
        queues: queues.transpose()?,
        has_broker: args.amqp_url.is_some(),
    })
}

async fn refuse_used_seed(stores: &mut Stores, fleet: &[Vehicle], seed: u64) -> Result<(), Error> {
    let found = vehicle_ids(&mut stores.state, fleet).await?.len();
    match i64::try_from(found).unwrap_or(i64::MAX) {
        0 => Ok(()),
        count => Err(Error::SeedUsed { count, seed }),
    }
}

/// Creates the task that produces the requests, the connections that send them, and those of the publisher. Ends with the last
/// response.
fn send(
    args: &RunArgs,
    plan: Plan,
    counts: &Arc<Counts>,
    record: &Arc<Mutex<Record>>,
) -> Result<impl Future<Output = ()>, Error> {
    let (queue, waiting) = mpsc::channel(usize::from(args.connections));
    let waiting = Arc::new(AsyncMutex::new(waiting));
    let sender = Sender::new(&args.api, args.retry_for, Arc::clone(counts), Arc::clone(record))?;
    let mut connections = JoinSet::new();
    for _ in 0..args.connections {
        connections.spawn(sender.clone().drain(Arc::clone(&waiting)));
    }
    let messages = Publisher::new(args, counts, record)?.map(|publisher| {
        let (queue, waiting) = mpsc::channel(MAX_UNPUBLISHED);
        let waiting = Arc::new(AsyncMutex::new(waiting));
        for _ in 0..args.connections {
            connections.spawn(Arc::clone(&publisher).drain(Arc::clone(&waiting)));
        }
        queue
    });
    let queues = Outlets { webhooks: queue, messages };
    let pace = match (args.rate, args.scenario) {
        (None, Scenario::Bomb | Scenario::Flood) => None,
        (rate, _) => Some(Duration::from_secs(1) / rate.unwrap_or(args.vehicles)),
    };
    let run_for = args.run_for;
    Ok(async move {
        feed(plan, queues, run_for, pace).await;
        while connections.join_next().await.is_some() {}
    })
}

/// Where requests go.
struct Outlets {
    webhooks: Queue<Arc<Webhook>>,
    /// To the publisher, if there is a broker.
    messages: Option<Queue<Arc<Webhook>>>,
}

impl Outlets {
    /// Returns whether somebody will send it.
    async fn send(&self, webhook: Arc<Webhook>) -> bool {
        let messages = self.messages.as_ref().filter(|_queue| webhook.is_message());
        messages.unwrap_or(&self.webhooks).send(webhook).await.is_ok()
    }
}

/// Queues requests at the given rate for the given time, then the held-back ones. Closes the queues.
async fn feed(mut plan: Plan, queues: Outlets, run_for: Duration, pace: Option<Duration>) {
    let end = Instant::now() + run_for;
    let mut next = Instant::now();
    while Instant::now() < end {
        if let Some(pace) = pace {
            tokio::time::sleep_until(next.into()).await;
            next = (next + pace).max(Instant::now().checked_sub(MAX_LAG).unwrap_or(next));
        }
        if !queues.send(plan.next_webhook(now_ms())).await {
            return;
        }
    }
    for webhook in plan.into_rest() {
        if !queues.send(webhook).await {
            return;
        }
    }
}

/// Shows the counts until it is aborted. If a database is unavailable meanwhile, its count is not shown.
async fn watch(counts: &Counts, stores: &mut Stores, fleet: &[Vehicle], progress: &mut Progress) {
    let mut rows = None;
    loop {
        let started = Instant::now();
        let counted = telemetry_rows(&mut stores.state, &mut stores.telemetry, fleet).await;
        if let Ok(counted) = counted {
            rows = u64::try_from(counted).ok();
        }
        // Limits how much of the database's time the counting takes.
        let next = Instant::now() + COUNT_EVERY.max(started.elapsed() * 10);
        while Instant::now() < next {
            progress.sending(counts, rows);
            tokio::time::sleep(COUNT_EVERY).await;
        }
    }
}

/// Records until it is aborted whether the backlog shrinks.
async fn probe(queues: Option<&Queues>, applying: &mut Stall) {
    let Some(queues) = queues else { return std::future::pending().await };
    let mut known = Ledgers::default();
    loop {
        // While no server responds, nothing is applied either.
        if known.progress(queues.reachable_ledgers(PROBE_WITHIN).await) {
            applying.progressed();
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn filled(base: Report, counts: &Counts, record: &Record, settled: &Settled) -> Report {
    let different: HashSet<&str> = settled.mismatches.iter().map(Mismatch::vehicle).collect();
    let reported = record.vehicles.iter().filter(|vehicle| vehicle.events > 0).count();
    Report {
        posted: read(&counts.posted),
        answered_200: read(&counts.answered_200),
        refused_401: read(&counts.refused_401),
        published: read(&counts.published),
        confirmed: read(&counts.confirmed),
        retried: read(&counts.retried),
        answered_other: read(&counts.answered_other),
        unacknowledged: read(&counts.unacknowledged),
        answer_p50_ms: milliseconds(counts.answer_times.percentile(50)),
        answer_p99_ms: milliseconds(counts.answer_times.percentile(99)),
        distinct_events: record.distinct_events,
        telemetry_rows_max: record.max_rows,
        telemetry_rows: settled.telemetry_rows,
        lost: settled.violations.lost,
        repeated: settled.violations.repeated,
        intruded: settled.violations.intruded,
        dead_letters: settled.dead_letters,
        backlog: settled.backlog,
        vehicles_compared: size(record.vehicles.len()),
        vehicles_current: size(reported.saturating_sub(different.len())),
        mismatches: size(settled.mismatches.len()),
        ..base
    }
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
