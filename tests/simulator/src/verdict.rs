//! The result of a run: its verdict, the tables and the JSON line.

use std::io::{Write, stderr, stdout};

use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::compare::Mismatch;
use crate::error::Error;
use crate::tables::SHOWN;

/// The maximum number of mismatches to print.
const MAX_PRINTED: usize = 20;

/// All counts of a run. They are the fields of the JSON line.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether everything agrees.
    pub ok: bool,
    /// Name of the scenario.
    pub scenario: &'static str,
    /// Seed of the run.
    pub seed: u64,
    /// Requests posted, including resends but not retries.
    pub posted: u64,
    /// Requests that got a 200.
    pub answered_200: u64,
    /// Forged requests that got a 401.
    pub refused_401: u64,
    /// Messages published to the broker, including resends but not retries.
    pub published: u64,
    /// Messages that the broker has confirmed.
    pub confirmed: u64,
    /// Retries after 503, a lost connection, or a message that was not confirmed.
    pub retried: u64,
    /// Requests that got an unexpected status.
    pub answered_other: u64,
    /// Requests without a final response, and messages without a confirm, when their retries ended.
    pub unacknowledged: u64,
    /// Median response time, ms.
    pub answer_p50_ms: f64,
    /// 99th percentile of the response time, ms.
    pub answer_p99_ms: f64,
    /// Acknowledged events without resends.
    pub distinct_events: u64,
    /// The maximum number of telemetry rows.
    pub telemetry_rows_max: u64,
    /// Telemetry rows of the run's vehicles.
    pub telemetry_rows: u64,
    /// Acknowledged reports that are not in telemetry.
    pub lost: u64,
    /// Reports that are in telemetry more than once although their time makes them one event.
    pub repeated: u64,
    /// Reports that were rejected with 401 and are in telemetry.
    pub intruded: u64,
    /// Dead letters received since the run began.
    pub dead_letters: u64,
    /// Messages in Redis that are accepted and not settled. Null without `--redis-url`.
    pub backlog: Option<i64>,
    /// Vehicles compared, including those that must not exist.
    pub vehicles_compared: u64,
    /// Vehicles whose row equals what was sent.
    pub vehicles_current: u64,
    /// Attributes that differ.
    pub mismatches: u64,
    /// The longest time between two 200 responses, ms.
    pub answer_stall_ms: u64,
    /// The longest time in which a backlog did not shrink, ms. Null without `--redis-url`.
    pub apply_stall_ms: Option<u64>,
    /// Seconds from the first to the last response.
    pub send_s: f64,
    /// Seconds from the last response until everything agreed, or until the wait timed out.
    pub settle_s: f64,
    /// Why the run failed. Empty if it is OK.
    pub problems: Vec<String>,
}

impl Report {
    /// Decides whether the run is OK and adds the problems.
    #[must_use]
    pub fn judged(mut self) -> Self {
        let mut problems = Vec::new();
        let mut check = |is_wrong: bool, problem: String| {
            if is_wrong {
                problems.push(problem);
            }
        };
        check(
            self.unacknowledged > 0,
            format!("{} requests or messages got no final response", self.unacknowledged),
        );
        check(self.answered_other > 0, format!("{} requests got an unexpected status", self.answered_other));
        check(self.distinct_events == 0, "no event was acknowledged".to_owned());
        let (rows, least, most) = (self.telemetry_rows, self.distinct_events, self.telemetry_rows_max);
        check(rows < least, format!("{} telemetry rows are missing", least.saturating_sub(rows)));
        check(rows > most, format!("{} telemetry rows too many", rows.saturating_sub(most)));
        check(self.lost > 0, format!("{} acknowledged events are lost", self.lost));
        check(self.repeated > 0, format!("{} events are stored more than once", self.repeated));
        check(self.intruded > 0, format!("{} refused events are stored", self.intruded));
        check(self.mismatches > 0, format!("{} attributes differ", self.mismatches));
        check(self.dead_letters > 0, format!("{} dead letters", self.dead_letters));
        let backlog = self.backlog.unwrap_or(0);
        check(backlog != 0, format!("backlog of {backlog} messages"));
        self.ok = problems.is_empty();
        self.problems = problems;
        self
    }

    /// The verdict in one line.
    pub fn verdict(&self) -> String {
        if self.ok {
            format!(
                "OK: {} vehicles equal what {} acknowledged events report",
                self.vehicles_current, self.distinct_events
            )
        } else {
            format!("FAILED: {}", self.problems.join("; "))
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let asked = |value: Option<String>| value.unwrap_or_else(|| "not asked".to_owned());
        let backlog = asked(self.backlog.map(|backlog| backlog.to_string()));
        let apply_stall = asked(self.apply_stall_ms.map(|ms| ms.to_string()));
        let by_amqp = (self.published > 0).then(|| {
            ("published / confirmed by the broker", format!("{} / {}", self.published, self.confirmed))
        });
        let mut rows = vec![
            ("posted", self.posted.to_string()),
            ("answered 200", self.answered_200.to_string()),
            ("refused as expected (401)", self.refused_401.to_string()),
            ("retried", self.retried.to_string()),
            ("answered otherwise", self.answered_other.to_string()),
            ("never answered", self.unacknowledged.to_string()),
            ("answer p50 / p99, ms", format!("{:.1} / {:.1}", self.answer_p50_ms, self.answer_p99_ms)),
            ("distinct events", self.distinct_events.to_string()),
            ("applied (vehicles current)", self.vehicles_current.to_string()),
            ("telemetry rows", self.telemetry_rows.to_string()),
            ("lost / repeated / intruded", format!("{} / {} / {}", self.lost, self.repeated, self.intruded)),
            ("dead letters", self.dead_letters.to_string()),
            ("backlog", backlog),
            ("longest stall of 200s / of applying, ms", format!("{} / {apply_stall}", self.answer_stall_ms)),
            ("vehicles compared", self.vehicles_compared.to_string()),
            ("mismatches", self.mismatches.to_string()),
            ("sent for / settled in, s", format!("{:.1} / {:.1}", self.send_s, self.settle_s)),
        ];
        rows.splice(2..2, by_amqp);
        rows
    }
}

/// Prints tables and verdict to stdout. With `json` they go to stderr and the counts to stdout.
///
/// # Errors
///
/// If they cannot be written.
pub fn print(
    report: &Report,
    vehicles: &[Vec<String>],
    mismatches: &[Mismatch],
    json: bool,
) -> Result<(), Error> {
    let mut out: Box<dyn Write> = if json { Box::new(stderr()) } else { Box::new(stdout()) };
    if !vehicles.is_empty() {
        writeln!(out, "{}", table(&SHOWN, vehicles.iter().cloned()))?;
    }
    if !mismatches.is_empty() {
        let rows = mismatches.iter().take(MAX_PRINTED).cloned();
        let rows = rows.map(|m| vec![m.provider_vehicle_id, m.attribute, m.expected, m.found]);
        writeln!(out, "{}", table(&["vehicle", "attribute", "expected", "found"], rows))?;
        let unprinted = mismatches.len().saturating_sub(MAX_PRINTED);
        if unprinted > 0 {
            writeln!(out, "and {unprinted} more")?;
        }
    }
    let rows = report.rows().into_iter().map(|(name, count)| vec![name.to_owned(), count]);
    let mut counts = table(&["count", "value"], rows);
    if let Some(column) = counts.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{counts}")?;
    writeln!(out, "seed {}, scenario {}", report.seed, report.scenario)?;
    writeln!(out, "{}", report.verdict())?;
    out.flush()?;
    if json {
        let line = serde_json::to_string(report).map_err(std::io::Error::from)?;
        writeln!(stdout(), "{line}")?;
    }
    Ok(())
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED).set_header(header.to_vec());
    table.add_rows(rows);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreeing() -> Report {
        Report { distinct_events: 10, telemetry_rows: 10, telemetry_rows_max: 11, ..Report::default() }
    }

    #[test]
    fn a_run_that_agrees_is_ok() {
        assert!(agreeing().judged().ok);
        assert!(Report { telemetry_rows: 11, refused_401: 3, backlog: Some(0), ..agreeing() }.judged().ok);
    }

    #[test]
    fn every_difference_fails_the_run_and_is_named() {
        let wrong = [
            (Report::default(), "no event was acknowledged"),
            (Report { unacknowledged: 1, ..agreeing() }, "1 requests or messages got no final response"),
            (Report { answered_other: 2, ..agreeing() }, "2 requests got an unexpected status"),
            (Report { telemetry_rows: 9, ..agreeing() }, "1 telemetry rows are missing"),
            (Report { telemetry_rows: 13, ..agreeing() }, "2 telemetry rows too many"),
            (Report { lost: 1, ..agreeing() }, "1 acknowledged events are lost"),
            (Report { repeated: 2, ..agreeing() }, "2 events are stored more than once"),
            (Report { intruded: 3, ..agreeing() }, "3 refused events are stored"),
            (Report { mismatches: 4, ..agreeing() }, "4 attributes differ"),
            (Report { dead_letters: 1, ..agreeing() }, "1 dead letters"),
            (Report { backlog: Some(5), ..agreeing() }, "backlog of 5 messages"),
        ];
        for (report, problem) in wrong {
            assert_eq!(report.judged().verdict(), format!("FAILED: {problem}"));
        }
    }
}
