//! Shows the user which long operation is running.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::ProgressBar;

/// Shows progress as a spinner on a terminal, as lines on any other stderr, or not at all.
#[derive(Debug)]
pub struct Progress(Sink);

#[derive(Debug)]
enum Sink {
    Spinner(ProgressBar),
    Lines,
    Nowhere,
}

impl Progress {
    /// A spinner if stderr is a terminal, otherwise lines on stderr.
    #[must_use]
    pub fn stderr() -> Self {
        if std::io::stderr().is_terminal() {
            let spinner = ProgressBar::new_spinner();
            spinner.enable_steady_tick(Duration::from_millis(100));
            Self(Sink::Spinner(spinner))
        } else {
            Self(Sink::Lines)
        }
    }

    /// Prints nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self(Sink::Nowhere)
    }

    /// Shows the current operation. A spinner replaces its previous message.
    pub fn say(&self, message: &str) {
        match &self.0 {
            Sink::Spinner(spinner) => spinner.set_message(message.to_owned()),
            Sink::Lines => eprintln!("{message}"),
            Sink::Nowhere => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Sink::Spinner(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }
}
