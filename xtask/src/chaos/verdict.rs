//! What a run has shown.

use std::thread;
use std::time::{Duration, Instant};

use super::injector::Injector;
use super::schedule::{CONSUMERS, Kind};
use super::stage::{API, Stage, consumer_name};
use super::{ask, refuse, victim};
use crate::failure::Failure;
use crate::interrupt::{Interrupt, POLL};

/// With an empty backlog there is no batch left; a consumer may still be looking at one that it has lost.
const LEASES_WITHIN: Duration = Duration::from_secs(10);

/// The problems found.
#[derive(Default)]
pub(super) struct Verdict {
    problems: Vec<String>,
}

impl Verdict {
    /// Notes a problem.
    pub(super) fn blame(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Once no fault strikes any more: the ledgers agree, no lease is left, everything stops in order.
    pub(super) fn examine(&mut self, stage: &mut Stage<'_>, interrupt: &Interrupt) -> Result<(), Failure> {
        self.note(stage.consumer_command("audit", interrupt))?;
        let end = Instant::now() + LEASES_WITHIN;
        loop {
            let leases = stage.leases()?;
            if leases == 0 {
                break;
            }
            if Instant::now() >= end {
                self.blame(format!("{leases} leases are left"));
                break;
            }
            interrupt.check()?;
            thread::sleep(POLL);
        }
        let mut stopping: Vec<_> = stage.consumers.drain(..).chain(stage.api.take()).collect();
        for process in &mut stopping {
            self.note(process.ask_to_stop())?;
        }
        for mut process in stopping.into_iter().chain(stage.leaving.drain(..)) {
            while self.note(process.has_stopped())?.is_some_and(|stopped| !stopped) {
                interrupt.check()?;
                thread::sleep(POLL);
            }
        }
        for name in names() {
            if victim::log(stage.logs, &name).contains("panicked at") {
                self.blame(format!("{name} has panicked"));
            }
        }
        Ok(())
    }

    /// Prints the table; fails if there is a problem.
    pub(super) fn print(
        mut self,
        stage: &Stage<'_>,
        injector: &Injector,
        simulated: &str,
        run_for: Duration,
        seed: u64,
    ) -> Result<(), Failure> {
        let minutes = usize::try_from(run_for.as_secs() / 60).unwrap_or(0);
        let least = (2 * minutes).max(usize::from(run_for.as_secs() >= 30));
        println!("{:<38} {:>9}", "fault", "times");
        for kind in Kind::ALL {
            let count = injector.count(kind);
            println!("{:<38} {count:>9}", kind.label());
            if count < least {
                self.blame(format!("{} struck only {count} times", kind.label()));
            }
        }
        let count = |name: &str| ask::json_number(simulated, name);
        let (distinct, rows) = (count("distinct_events"), count("telemetry_rows"));
        let lost = distinct.zip(rows).map(|(distinct, rows)| distinct.saturating_sub(rows));
        let in_logs = |text: &str| {
            let logs = (0..CONSUMERS).map(|index| victim::log(stage.logs, &consumer_name(index)));
            let count: usize = logs.map(|log| log.matches(text).count()).sum();
            u64::try_from(count).ok()
        };
        println!("\n{:<38} {:>9}", "count", "value");
        for (name, value) in [
            ("posted", count("posted")),
            ("answered 200", count("answered_200")),
            ("retried", count("retried")),
            ("distinct events acknowledged", distinct),
            ("telemetry rows", rows),
            ("duplicates absorbed", stage.duplicates().map(Some)?),
            ("batches taken over", in_logs("took a batch over")),
            ("leases lost to another consumer", in_logs("the lease is gone")),
            // Which needs several deaths while parsing; each could bury an innocent message.
            ("batches parsed one by one", in_logs("parsing its messages one by one")),
            ("attributes that differ", count("mismatches")),
            ("lost", lost),
        ] {
            let value = value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
            println!("{name:<38} {value:>9}");
        }
        if self.problems.is_empty() {
            println!("\nOK: seed {seed} lost nothing");
            return Ok(());
        }
        println!("\nFAILED: seed {seed}: {}", self.problems.join("; "));
        Err(refuse(self.problems.join("; ")))
    }

    /// A failed step is a problem among others; an interrupt is not.
    fn note<T>(&mut self, step: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match step {
            Ok(value) => Ok(Some(value)),
            Err(Failure::Interrupted) => Err(Failure::Interrupted),
            Err(failure) => {
                self.blame(failure.to_string());
                Ok(None)
            }
        }
    }
}

fn names() -> impl Iterator<Item = String> {
    (0..CONSUMERS).map(consumer_name).chain([API.to_owned()])
}
