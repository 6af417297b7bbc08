//! The history of the day.

use std::time::Duration;

/// The minimum time between two printed rows.
const PRINT_EVERY: Duration = Duration::from_secs(1);

/// A part of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Night,
    RushHour,
    Bomb,
    Hang,
    Evening,
    SourceGone,
    LateEvening,
    Rollout,
}

impl Phase {
    /// The name in the printed table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Night => "night",
            Self::RushHour => "rush hour",
            Self::Bomb => "bomb",
            Self::Hang => "one hangs",
            Self::Evening => "evening",
            Self::SourceGone => "no metrics",
            Self::LateEvening => "night again",
            Self::Rollout => "rollout",
        }
    }
}

/// One sync of the controller.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Wall clock since the day began.
    pub(super) at: Duration,
    pub(super) phase: Phase,
    pub(super) replicas: u32,
    pub(super) ready: u32,
    /// The number of replicas from now on.
    pub(super) desired: u32,
    /// The proposal of each metric.
    pub(super) proposals: Vec<Option<u32>>,
    pub(super) backlog_bytes: f64,
    pub(super) oldest_seconds: f64,
    pub(super) accepted_per_second: f64,
    pub(super) applied_per_second: f64,
}

/// Every sync, and when each phase began.
pub(super) struct Timeline {
    pub(super) rows: Vec<Row>,
    pub(super) phases: Vec<(Phase, Duration)>,
    print_every: Duration,
    printed: Option<Duration>,
}

impl Timeline {
    /// Creates a timeline that gets a row every `sync`. It prints at most one row a second, unless the number
    /// of replicas changes.
    pub(super) fn new(sync: Duration) -> Self {
        Self { rows: Vec::new(), phases: Vec::new(), print_every: sync.max(PRINT_EVERY), printed: None }
    }

    /// Begins or continues a phase.
    pub(super) fn enter(&mut self, phase: Phase, at: Duration) {
        if self.phases.last().is_none_or(|(last, _)| *last != phase) {
            self.phases.push((phase, at));
        }
    }

    /// Adds a row and prints it if it is due or if the number of replicas changes.
    pub(super) fn push(&mut self, row: Row) {
        let is_time =
            self.printed.is_none_or(|printed| row.at.saturating_sub(printed) + POLLED >= self.print_every);
        if self.printed.is_none() {
            println!("{}", head());
        }
        if is_time || row.desired != row.replicas {
            println!("{}", row.text());
            self.printed = Some(row.at);
        }
        self.rows.push(row);
    }

    /// The rows of a phase.
    pub(super) fn of(&self, phase: Phase) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.phase == phase)
    }
}

/// A row may be this much early.
const POLLED: Duration = Duration::from_millis(50);

fn head() -> String {
    format!(
        "{:>7}  {:<11} {:>8} {:>5} {:>7} {:>9} {:>10} {:>9} {:>9}  {}",
        "s",
        "phase",
        "replicas",
        "ready",
        "desired",
        "backlog",
        "oldest",
        "accepted",
        "applied",
        "asked for by each metric"
    )
}

impl Row {
    fn text(&self) -> String {
        let asked: Vec<String> = self
            .proposals
            .iter()
            .map(|proposal| proposal.map_or_else(|| "-".to_owned(), |replicas| replicas.to_string()))
            .collect();
        format!(
            "{:>7.1}  {:<11} {:>8} {:>5} {:>7} {:>6.1} MB {:>8.1} s {:>7.0}/s {:>7.0}/s  {}",
            self.at.as_secs_f64(),
            self.phase.label(),
            self.replicas,
            self.ready,
            self.desired,
            self.backlog_bytes / 1e6,
            self.oldest_seconds,
            self.accepted_per_second,
            self.applied_per_second,
            asked.join(" "),
        )
    }
}
