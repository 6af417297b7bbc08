//! The configuration of all binaries: built-in defaults, then an optional TOML file, then `FLEET_…` variables.

mod amqp_settings;
mod check;
mod effective;
mod error;
mod keys;
mod load;
mod names;
mod query_settings;
mod queues;
mod redis;
mod redis_settings;
mod retry;
mod schema;
mod secret;
mod secrets_file;

pub use amqp_settings::{AmqpSettings, QueueNames};
pub use error::SettingsError;
pub use load::{load, variables};
pub use names::environment_name;
pub use query_settings::{QuerySettings, Scope, TokenSettings};
pub use redis_settings::{RedisSettings, RedisTopology};
pub use schema::{
    AdminSettings, ApiSettings, ConsumerSettings, DatabasePoolSettings, LogFormat, ProviderSettings,
    QueueSettings, RetentionSettings, Settings,
};
pub use secret::{ConnectionUrl, GivenScheme, Password};
pub use secrets_file::{SecretsFileError, read_secrets};
