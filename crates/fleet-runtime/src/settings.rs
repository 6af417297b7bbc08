//! The configuration of both binaries: built-in defaults, then an optional TOML file, then `FLEET_…` variables.

mod check;
mod load;
mod redis;
mod retry;
mod schema;
mod secret;
mod secrets_file;

pub use load::{SettingsError, environment_name, load, variables};
pub use schema::{
    AdminSettings, ApiSettings, ConsumerSettings, DatabasePoolSettings, LogFormat, ProviderSettings,
    QueueSettings, RetentionSettings, Settings,
};
pub use secret::{ConnectionUrl, GivenScheme};
pub use secrets_file::{SecretsFileError, read_secrets};
