//! The commands that operators need.

pub(crate) mod dead_letters;
pub(crate) mod explain;
mod progress;
pub(crate) mod replay;
mod telemetry_url;
mod time;
pub(crate) mod trace;

use clap::builder::PossibleValuesParser;

/// Reads the slug of a provider.
fn provider_slug() -> PossibleValuesParser {
    PossibleValuesParser::new(fleet_providers::PROVIDERS.iter().map(|provider| provider.slug))
}
