//! The figures of a case as a table, as JSON and in the document.

use std::fmt;

use comfy_table::presets::{ASCII_MARKDOWN, NOTHING};
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::machine::Machine;

/// One case's figures, and the requirements for them.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The case's name.
    pub(crate) case: &'static str,
    /// Whether the run was small and short, so that the figures mean nothing.
    pub(crate) quick: bool,
    series: Vec<Series>,
    checks: Vec<Check>,
}

/// One figure with its value in each round.
#[derive(Debug, Serialize)]
struct Series {
    name: String,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    values: Vec<f64>,
}

/// A requirement for the median of a figure.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    kind: Kind,
    bound: Bound,
    value: f64,
    holds: bool,
}

/// How important a requirement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The run fails if it is not met.
    Must,
    /// Desirable.
    Aim,
}

/// The bound of a figure.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(formatter, "≤ {}", figure(*most)),
            Self::AtLeast(least) => write!(formatter, "≥ {}", figure(*least)),
        }
    }
}

impl Report {
    pub(crate) fn new(case: &'static str, quick: bool) -> Self {
        Self { case, quick, series: Vec::new(), checks: Vec::new() }
    }

    /// Adds the value of a figure in one round.
    pub(crate) fn note(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        let name = name.into();
        if let Some(series) = self.series.iter_mut().find(|series| series.name == name) {
            series.values.push(value);
            series.median = median(&series.values);
            series.min = series.min.min(value);
            series.max = series.max.max(value);
        } else {
            self.series.push(Series {
                name,
                unit,
                median: value,
                min: value,
                max: value,
                values: vec![value],
            });
        }
    }

    /// Adds a requirement for a figure's median. It is not met if the figure was never noted.
    pub(crate) fn ask(&mut self, name: &str, kind: Kind, bound: Bound) {
        let series = self.series.iter().find(|series| series.name == name);
        let value = series.map_or(f64::NAN, |series| series.median);
        self.checks.push(Check { name: name.to_owned(), kind, bound, value, holds: bound.holds(value) });
    }

    /// Whether every `must` is met.
    pub(crate) fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.kind == Kind::Aim || check.holds)
    }

    /// The content of the JSON file.
    pub(crate) fn json(&self, machine: &Machine) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct File<'a> {
            #[serde(flatten)]
            machine: &'a Machine,
            #[serde(flatten)]
            report: &'a Report,
            holds: bool,
        }
        serde_json::to_string_pretty(&File { machine, report: self, holds: self.holds() })
    }

    /// The tables for the terminal.
    pub(crate) fn text(&self) -> String {
        format!("{}\n\n{}", self.figures(false), self.verdicts(false))
    }

    /// The tables for the document.
    pub(crate) fn markdown(&self, machine: &Machine) -> String {
        format!("{}\n\n{}\n\n{}\n", machine.sentence(), self.figures(true), self.verdicts(true))
    }

    fn figures(&self, markdown: bool) -> Table {
        let mut table = table(markdown, &[self.case, "unit", "median", "min", "max"]);
        for series in &self.series {
            let [median, min, max] = [series.median, series.min, series.max].map(figure);
            table.add_row([series.name.clone(), series.unit.to_owned(), median, min, max]);
        }
        right(&mut table, 2..5);
        table
    }

    fn verdicts(&self, markdown: bool) -> Table {
        let mut table = table(markdown, &["asked", "", "bound", "median", "holds"]);
        for check in &self.checks {
            let kind = if check.kind == Kind::Must { "must" } else { "aim" };
            let holds = if check.holds { "yes" } else { "NO" };
            table.add_row([&check.name, kind, &check.bound.to_string(), &figure(check.value), holds]);
        }
        right(&mut table, 2..4);
        table
    }
}

fn table(markdown: bool, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(if markdown { ASCII_MARKDOWN } else { NOTHING }).set_header(header);
    table
}

fn right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The median of at least one value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// Rounds to about three significant digits.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => thousands(value),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0
            && digit.is_ascii_digit()
            && (digits.len() - index).is_multiple_of(3)
            && !text.ends_with('-')
        {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_must_that_does_not_hold_fails_the_report_and_an_aim_does_not() {
        let mut report = Report::new("case", false);
        for value in [9.0, 1.0, 2.0] {
            report.note("cost", "us", value);
        }
        report.ask("cost", Kind::Must, Bound::AtMost(2.0));
        report.ask("cost", Kind::Aim, Bound::AtMost(1.0));
        assert!(report.holds(), "{report:?}");
        report.ask("cost", Kind::Must, Bound::AtLeast(2.1));
        assert!(!report.holds());
    }

    #[test]
    fn what_was_never_measured_does_not_hold() {
        for bound in [Bound::AtMost(1.0), Bound::AtLeast(1.0)] {
            let mut report = Report::new("case", false);
            report.ask("forgotten", Kind::Must, bound);
            assert!(!report.holds(), "{bound}");
        }
    }

    #[test]
    fn figures_are_short() {
        let figures = [0.123, 12.34, 123.4, 1_234_567.0].map(figure);
        assert_eq!(figures, ["0.12", "12.3", "123", "1,234,567"]);
        assert_eq!(median(&[3.0, 1.0, 10.0, 2.0]), 2.5);
    }
}
