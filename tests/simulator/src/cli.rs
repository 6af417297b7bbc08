//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Simulates the vehicle providers against a running `fleet-webhook-api`, then checks the database.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send reports for a while, wait until they are applied, and compare every vehicle's row with what was
    /// sent.
    ///
    /// The exit status is 0 only if everything agrees.
    Run(Box<RunArgs>),
}

/// The options of a run.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Base URL of the API, such as http://127.0.0.1:8080.
    #[arg(long, value_name = "URL", env = "SIMULATOR_API_URL")]
    pub api: String,
    /// PostgreSQL with the vehicle state.
    #[arg(long, value_name = "URL", env = "FLEET_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// PostgreSQL with telemetry and dead letters, if it is not the same.
    #[arg(long, value_name = "URL", env = "FLEET_TELEMETRY_DATABASE_URL", hide_env_values = true)]
    pub telemetry_database_url: Option<String>,
    /// NIU's token (the first of a comma-separated list is used).
    #[arg(long, value_name = "S", env = "FLEET_PROVIDERS__NIU__SECRETS", hide_env_values = true, value_parser = first_secret)]
    pub niu_token: String,
    /// Segway's client secret (the first of a comma-separated list is used).
    #[arg(long, value_name = "S", env = "FLEET_PROVIDERS__SEGWAY__SECRETS", hide_env_values = true, value_parser = first_secret)]
    pub segway_secret: String,
    /// INVERS' bearer token (the first of a comma-separated list is used).
    #[arg(long, value_name = "S", env = "FLEET_PROVIDERS__INVERS__SECRETS", hide_env_values = true, value_parser = first_secret)]
    pub invers_token: String,
    /// AMQP broker, such as amqps://user:password@localhost:5671/vhost. INVERS' events are published there instead of posted,
    /// except for those with a wrong credential.
    #[arg(
        long,
        value_name = "URL",
        env = "SIMULATOR_AMQP_URL",
        hide_env_values = true,
        requires = "amqp_queue"
    )]
    pub amqp_url: Option<String>,
    /// The broker's queue for INVERS' events. Repeat it to spread them over several.
    #[arg(long, value_name = "NAME", requires = "amqp_url")]
    pub amqp_queue: Vec<String>,
    /// PEM file of a CA that is trusted for the broker, in addition to the system's.
    #[arg(long, value_name = "FILE", requires = "amqp_url")]
    pub amqp_ca_file: Option<PathBuf>,
    /// Vehicles, split evenly over the three providers.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(3..=30_000))]
    pub vehicles: u32,
    /// How long to send, such as 20s or 2m.
    #[arg(long = "for", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub run_for: Duration,
    /// Webhooks per second [default: one per vehicle]; `bomb` and `flood` send as fast as the API responds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// Seed of the vehicles' ids and of every choice [default: random]. Use a seed only once for each
    /// database.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Concurrent requests.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// What the providers do.
    #[arg(long, value_enum, default_value_t = Scenario::Mixed)]
    pub scenario: Scenario,
    /// Redis of the queues, to also wait for an empty backlog. Repeat it for each server if the queues are on
    /// several servers, or have replicas. Replicas are skipped.
    #[arg(long, value_name = "URL", env = "FLEET_REDIS_URL", hide_env_values = true)]
    pub redis_url: Vec<String>,
    /// Prefix of the queues' keys.
    #[arg(long, value_name = "PREFIX", env = "FLEET_QUEUE__PREFIX", default_value = "fleet")]
    pub redis_prefix: String,
    /// How long one report is retried after 503 or a lost connection before the run fails.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub retry_for: Duration,
    /// How long to wait for the consumers after their last visible progress.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub settle_for: Duration,
    /// Print all counts as one JSON object in the last line of stdout; the tables go to stderr.
    #[arg(long)]
    pub json: bool,
}

/// What the providers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Send every report once, in order.
    Steady,
    /// Send 30 minutes of reports as fast as the API responds; half of NIU's as arrays of 100.
    Bomb,
    /// Send half of the reports again.
    Duplicates,
    /// Hold nearly every report back and send it later, out of order.
    Shuffled,
    /// Set the clocks of a third of the vehicles one hour ahead or many years back.
    SkewedClocks,
    /// Send a third of the requests with a wrong credential or none.
    BadSignatures,
    /// Mostly steady, with a small share of everything else.
    Mixed,
    /// Like mixed, with more arrays and as fast as the API responds.
    Flood,
}

impl Scenario {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bomb => "bomb",
            Self::Duplicates => "duplicates",
            Self::Shuffled => "shuffled",
            Self::SkewedClocks => "skewed-clocks",
            Self::BadSignatures => "bad-signatures",
            Self::Mixed => "mixed",
            Self::Flood => "flood",
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())
}

fn first_secret(text: &str) -> Result<String, String> {
    let first = text.split(',').map(str::trim).find(|secret| !secret.is_empty());
    first.map(str::to_owned).ok_or_else(|| "must not be empty".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn scenario_names_are_those_of_the_command_line() {
        for scenario in Scenario::value_variants() {
            assert_eq!(scenario.to_possible_value().unwrap().get_name(), scenario.name());
        }
    }

    #[test]
    fn durations_and_secrets_are_read() {
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert!(duration("-1s").is_err());
        assert_eq!(first_secret(" a , b"), Ok("a".to_owned()));
        assert!(first_secret(" ,").is_err());
    }
}
