//! The argument that names a provider.

use clap::builder::PossibleValuesParser;

/// Reads the slug of a provider.
pub(crate) fn provider_slug() -> PossibleValuesParser {
    PossibleValuesParser::new(fleet_providers::PROVIDERS.iter().map(|provider| provider.slug))
}
