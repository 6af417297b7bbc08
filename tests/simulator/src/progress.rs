//! Progress on stderr: a bar on a terminal, otherwise a line every few seconds.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::counts::{Counts, read};

/// The time between two lines if stderr is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The bar or the lines.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    last_line: Instant,
    started: Instant,
}

impl Progress {
    /// Shows a run that sends for `run_for`.
    pub fn new(run_for: Duration) -> Self {
        let bar = stderr().is_terminal().then(|| ProgressBar::new(run_for.as_secs().max(1)));
        if let Some(bar) = &bar {
            bar.set_style(style("{elapsed_precise} [{bar:24}] {msg}"));
        }
        Self { bar, last_line: Instant::now(), started: Instant::now() }
    }

    /// Shows progress while sending. `rows` is the number of telemetry rows, if known.
    pub fn sending(&mut self, counts: &Counts, rows: Option<u64>) {
        let (published, confirmed) = (read(&counts.published), read(&counts.confirmed));
        let by_amqp = if published == 0 {
            String::new()
        } else {
            format!("published {published}, confirmed {confirmed}, ")
        };
        let text = format!(
            "posted {}, answered 200 {}, {by_amqp}applied rows {}, responses p50 {:.1} ms p99 {:.1} ms",
            read(&counts.posted),
            read(&counts.answered_200),
            rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string()),
            milliseconds(counts.answer_times.percentile(50)),
            milliseconds(counts.answer_times.percentile(99)),
        );
        if let Some(bar) = &self.bar {
            bar.set_position(self.started.elapsed().as_secs());
        }
        self.say(text);
    }

    /// Shows progress while waiting for the consumers.
    pub fn settling(&mut self, rows: u64, wanted: u64, backlog: Option<i64>) {
        if let Some(bar) = &self.bar {
            bar.set_length(wanted);
            bar.set_position(rows);
        }
        let backlog = backlog.map_or_else(String::new, |backlog| format!(", backlog {backlog}"));
        self.say(format!("applied rows {rows} of {wanted}{backlog}"));
    }

    /// Removes the bar.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&mut self, text: String) {
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                eprintln!("{:>4} s: {text}", self.started.elapsed().as_secs());
            }
            None => {}
        }
    }
}

/// Milliseconds as a decimal number.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
