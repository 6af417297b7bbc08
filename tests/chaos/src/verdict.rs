//! Judges and prints the result of a run.

use std::thread;
use std::time::{Duration, Instant};

use fleet_testbed::DatabaseLogin;

use crate::injector::Injector;
use crate::json::json_number;
use crate::kind::Kind;
use crate::layout::{Databases, Layout, StageName};
use crate::programs::{API, BRIDGE, QUERY, consumer_name};
use crate::query::Query;
use crate::refuse::refuse;
use crate::schedule::CONSUMERS;
use crate::stage::Stage;
use crate::{history, needless};
use fleet_harness::{Failure, Interrupt, POLL, log};

/// The deadline for the last leases to end. The backlog is empty by then, but a consumer may still hold a
/// batch whose lease it has lost.
const LEASES_WITHIN: Duration = Duration::from_secs(10);

/// A run of this length must meet the minimum counts. Shorter runs are for trying things out.
const FULL_RUN: Duration = Duration::from_mins(1);

/// The minimum number of faults of each kind in a full run.
const FAULTS_OF_A_KIND: usize = 5;

/// The minimum number of lost machines of each sort in a full run with replicas.
const LOSSES: usize = 5;

/// With replicas, each minute must have every other kind of fault at least this often. After most of them the
/// servers need seconds to recover before the next one.
const FAULTS_A_MINUTE: usize = 1;

/// The deadline for the last messages of the broker. All are stored by then, but the bridge may have to acknowledge them again.
const BROKER_EMPTY_WITHIN: Duration = Duration::from_secs(30);

/// The minimum number of acknowledged events a second in a full run. It is lower with two databases: they
/// share two cores, and one of them is unavailable for a third of the time. With replicas, Redis confirms
/// nothing for as long.
fn events_a_second(layout: Layout) -> u64 {
    match (layout.stage, layout.databases) {
        (StageName::Single, Databases::One) | (StageName::Amqp, _) => 2_000,
        (StageName::Single, Databases::Two) => 1_000,
        (StageName::Failover | StageName::Cluster, _) => 1_500,
    }
}

/// The options of the run.
pub(super) struct Run {
    pub(super) layout: Layout,
    pub(super) run_for: Duration,
    pub(super) seed: u64,
}

impl Run {
    /// The minimum number of faults of each kind, except for the losses of machines.
    fn least_of_a_kind(&self) -> usize {
        let minutes = |a_minute: u64| {
            let count = self.run_for.as_secs() * a_minute / FULL_RUN.as_secs();
            usize::try_from(count).unwrap_or(0)
        };
        match (self.layout.stage, self.run_for >= FULL_RUN) {
            (StageName::Failover | StageName::Cluster, _) => minutes(1) * FAULTS_A_MINUTE,
            (StageName::Amqp, _) => self.of_two_minutes(FAULTS_OF_A_KIND),
            (StageName::Single, true) => FAULTS_OF_A_KIND,
            (StageName::Single, false) => minutes(4),
        }
    }

    /// The minimum number of lost machines of each sort.
    fn least_losses(&self) -> usize {
        self.of_two_minutes(LOSSES)
    }

    /// The part of a number for two minutes that this run must reach, at least 1.
    fn of_two_minutes(&self, most: usize) -> usize {
        let full = FULL_RUN.as_secs() * 2;
        let count = self.run_for.as_secs() * u64::try_from(most).unwrap_or(0) / full;
        usize::try_from(count).unwrap_or(0).clamp(1, most)
    }
}

/// The problems found.
#[derive(Default)]
pub(super) struct Verdict {
    problems: Vec<String>,
    /// The vehicles that the query service knows as the table does.
    compared: Option<usize>,
}

impl Verdict {
    /// Adds a problem.
    pub(super) fn add_problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Checks, after the last fault, that the query service catches up with the table `vehicles`.
    pub(super) fn compare(&mut self, stage: &mut Stage<'_>, interrupt: &Interrupt) -> Result<(), Failure> {
        let Some(query) = &stage.query else { return Ok(()) };
        match query.compare(stage.databases.primary(0)?, interrupt)? {
            Ok(vehicles) => self.compared = Some(vehicles),
            Err(differences) => self.add_problem(differences),
        }
        Ok(())
    }

    /// Checks, after the last fault, that the audit passes, that no lease is left, and that every process
    /// stops cleanly.
    pub(super) fn examine(&mut self, stage: &mut Stage<'_>, interrupt: &Interrupt) -> Result<(), Failure> {
        self.note(stage.programs.consumer_command("audit", DatabaseLogin::Consumer, interrupt))?;
        let end = Instant::now() + LEASES_WITHIN;
        loop {
            let leases = stage.leases()?;
            if leases == 0 {
                break;
            }
            if Instant::now() >= end {
                self.add_problem(format!("{leases} leases did not end"));
                break;
            }
            interrupt.check()?;
            thread::sleep(POLL);
        }
        self.require_empty_broker(stage, interrupt)?;
        // No fault so far has made Redis lose data.
        let alarms = in_logs(stage, "gone back behind what it had confirmed");
        if alarms > 0 {
            self.add_problem(format!("{alarms} false alarms about a lost history of Redis"));
        }
        self.note(history::lose(stage, interrupt))?;
        let query = stage.query.as_mut().and_then(|query| query.program.take());
        let bridge = stage.amqp.as_mut().and_then(|amqp| amqp.bridge.take());
        let services = stage.consumers.drain(..).chain(stage.api.take());
        let mut stopping: Vec<_> = services.chain(query).chain(bridge).collect();
        for process in &mut stopping {
            self.note(process.ask_to_stop())?;
        }
        for mut process in stopping.into_iter().chain(stage.leaving.drain(..)) {
            while self.note(process.has_stopped())?.is_some_and(|stopped| !stopped) {
                interrupt.check()?;
                thread::sleep(POLL);
            }
        }
        if let Some(killed @ 1..) = stage.programs.limits.killed() {
            self.add_problem(format!("{killed} processes exceeded their memory limit and were killed"));
        }
        for name in names() {
            if log::whole(stage.programs.logs, &name).contains("panicked at") {
                self.add_problem(format!("{name} panicked"));
            }
        }
        let deadlocks = in_logs(stage, "40P01");
        if deadlocks > 0 {
            self.add_problem(format!("{deadlocks} deadlocks in the database"));
        }
        Ok(())
    }

    /// Checks that the bridge acknowledges every message.
    fn require_empty_broker(&mut self, stage: &Stage<'_>, interrupt: &Interrupt) -> Result<(), Failure> {
        let Some(amqp) = &stage.amqp else { return Ok(()) };
        let end = Instant::now() + BROKER_EMPTY_WITHIN;
        while let Some(left @ 1..) = self.note(amqp.unacknowledged())? {
            if Instant::now() >= end {
                self.add_problem(format!("{left} messages were not acknowledged"));
                break;
            }
            interrupt.check()?;
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Prints the tables. Fails if there is a problem.
    pub(super) fn print(
        mut self,
        stage: &mut Stage<'_>,
        injector: &Injector,
        simulated: &str,
        run: &Run,
    ) -> Result<(), Failure> {
        let Run { seed, .. } = run;
        self.faults(stage, injector, run);
        self.counts(stage, injector, simulated, run)?;
        if self.problems.is_empty() {
            println!("\nOK: seed {seed} lost nothing");
            return Ok(());
        }
        println!("\nFAILED: seed {seed}: {}", self.problems.join("; "));
        Err(refuse(self.problems.join("; ")))
    }

    fn faults(&mut self, stage: &Stage<'_>, injector: &Injector, run: &Run) {
        println!("{:<50} {:>9}", "fault", "times");
        for kind in Kind::usual(run.layout) {
            self.print_count(kind.label(), injector.count(kind), run.least_of_a_kind());
        }
        if run.layout.has_replicas() {
            for kind in [Kind::LoseRedis, Kind::LoseCutOffRedis, Kind::LosePostgres] {
                self.print_count(kind.label(), injector.count(kind), 0);
            }
            let redis = injector.count(Kind::LoseRedis) + injector.count(Kind::LoseCutOffRedis);
            self.print_count("Redis machines lost", redis, run.least_losses());
            let databases = injector.count(Kind::LosePostgres);
            self.print_count("PostgreSQL machines lost", databases, run.least_losses());
        }
        // This follows from other faults if they last long enough, which they may not in a short run.
        let least = if run.run_for >= FULL_RUN { run.least_of_a_kind() } else { 0 };
        self.print_count(
            "a provider's backlog above its cap",
            in_logs(stage, "backlog above its cap"),
            least,
        );
    }

    fn print_count(&mut self, label: &str, count: usize, least: usize) {
        println!("{label:<50} {count:>9}");
        if count < least {
            self.add_problem(format!("only {count} of at least {least} times: {label}"));
        }
    }

    fn counts(
        &mut self,
        stage: &mut Stage<'_>,
        injector: &Injector,
        simulated: &str,
        run: &Run,
    ) -> Result<(), Failure> {
        let needless =
            needless::count(&log::whole(stage.programs.logs, API), |at| injector.was_without_redis(at));
        if needless > 0 {
            self.add_problem(format!("{needless} webhooks got a 503 although Redis was available"));
        }
        let count = |name: &str| json_number(simulated, name);
        let acknowledged = count("distinct_events");
        let rate = acknowledged.map(|events| events / run.run_for.as_secs().max(1));
        let duplicates = stage.duplicates()?;
        let followed = stage.query.as_ref().map(Query::followed);
        let logged = |text: &str| u64::try_from(in_logs(stage, text)).ok();
        println!("\n{:<50} {:>9}", "count", "value");
        for (name, value) in [
            ("webhooks posted", count("posted")),
            ("webhooks answered 200", count("answered_200")),
            ("messages confirmed by RabbitMQ", count("confirmed")),
            ("attempts repeated", count("retried")),
            ("answered 503 although Redis was there", Some(needless)),
            ("events acknowledged", acknowledged),
            ("events acknowledged a second", rate),
            ("telemetry rows", count("telemetry_rows")),
            ("duplicates absorbed", Some(duplicates)),
            ("batches taken over", logged("took a batch over")),
            ("times that a database was away alone", logged("the database takes nothing")),
            ("leases lost to another consumer", logged("the lease is gone")),
            // This takes several deaths while parsing. Each could turn an innocent message into a dead
            // letter.
            ("batches parsed one by one", logged("parsing its messages one by one")),
            // A quorum queue discards a message after 20 deliveries.
            ("warnings of five deliveries of a message", logged("messages were delivered several times")),
            ("long pauses of the bridge", logged("consumers of this queue have ended several times")),
            ("longest stall of 200s, ms", count("answer_stall_ms")),
            ("longest stall of applied events, ms", count("apply_stall_ms")),
            ("attributes that differ", count("mismatches")),
            ("dead letters", count("dead_letters")),
            ("stored more than once", count("repeated")),
            ("lost", count("lost")),
            ("processes killed for memory", stage.programs.limits.killed()),
            (
                "vehicles compared with the query service",
                self.compared.and_then(|count| count.try_into().ok()),
            ),
            ("snapshots in the stream", followed.map(|followed| followed.snapshots)),
            ("times that the stream went on", followed.map(|followed| followed.resumed)),
        ] {
            let value = value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
            println!("{name:<50} {value:>9}");
        }
        let least = events_a_second(run.layout);
        if run.run_for >= FULL_RUN && rate.is_none_or(|rate| rate < least) {
            self.add_problem(format!("fewer than {least} events acknowledged a second"));
        }
        Ok(())
    }

    /// Adds a failed step to the problems. An interrupt ends the run.
    fn note<T>(&mut self, step: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match step {
            Ok(value) => Ok(Some(value)),
            Err(failure) if failure.is_interrupt() => Err(failure),
            Err(failure) => {
                self.add_problem(failure.to_string());
                Ok(None)
            }
        }
    }
}

/// How often `text` appears in the logs of the processes.
fn in_logs(stage: &Stage<'_>, text: &str) -> usize {
    names().map(|name| log::whole(stage.programs.logs, &name).matches(text).count()).sum()
}

fn names() -> impl Iterator<Item = String> {
    (0..CONSUMERS).map(consumer_name).chain([API.to_owned(), QUERY.to_owned(), BRIDGE.to_owned()])
}
