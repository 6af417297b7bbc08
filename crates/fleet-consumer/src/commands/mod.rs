//! The commands that operators need.

pub(crate) mod dead_letters;
mod progress;
pub(crate) mod replay;
mod time;

use std::fmt::Display;
use std::io::Write;

use clap::builder::PossibleValuesParser;

/// Reads the slug of a provider.
fn provider_slug() -> PossibleValuesParser {
    PossibleValuesParser::new(fleet_providers::PROVIDERS.iter().map(|provider| provider.slug))
}

/// Prints a line. Whoever has seen enough, such as `head`, may close the pipe.
fn print(text: impl Display) {
    drop(writeln!(std::io::stdout(), "{text}"));
}
