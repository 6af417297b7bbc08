//! The option to pass the URL of the telemetry database on standard input.

use std::io::{self, Read};

use clap::Args;
use fleet_runtime::settings::{ConnectionUrl, Settings};

/// Longer than any URL.
const MOST_BYTES: u64 = 4096;

/// For commands that read telemetry: the consumer's own login may not read it.
#[derive(Args)]
pub(crate) struct TelemetryUrl {
    /// Read the URL of the telemetry database from standard input, so that its password stays secret.
    #[arg(long)]
    telemetry_url_from_stdin: bool,
}

impl TelemetryUrl {
    /// The settings, with that URL if the option is set.
    ///
    /// # Errors
    ///
    /// Why standard input cannot be read.
    pub(crate) fn apply(&self, settings: &Settings) -> Result<Settings, String> {
        let mut settings = settings.clone();
        if self.telemetry_url_from_stdin {
            let mut url = String::new();
            io::stdin()
                .take(MOST_BYTES)
                .read_to_string(&mut url)
                .map_err(|error| format!("cannot read the URL from standard input: {error}"))?;
            settings.telemetry_database_url = Some(ConnectionUrl::from(url.trim()));
        }
        Ok(settings)
    }
}
