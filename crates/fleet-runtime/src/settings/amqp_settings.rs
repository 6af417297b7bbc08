//! The bridge from AMQP: where the broker is, what to consume, and the bounds.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::secret::ConnectionUrl;

/// The broker, its queues, and the bounds of the bridge.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpSettings {
    /// The broker and the login, `amqps://user:password@host:5671/vhost`; percent-encode special characters.
    pub url: Option<ConnectionUrl>,
    /// PEM file of the CAs that are trusted for the broker, or `system`; `tls.ca_file` if absent.
    pub ca_file: Option<PathBuf>,
    /// The queues to consume.
    pub queues: QueueNames,
    /// The provider that the messages come from.
    pub provider: String,
    /// Most unacknowledged messages of each queue.
    pub prefetch: u16,
    /// Most time for a connection, and for each operation on it.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Heartbeat interval. The connection counts as broken after two intervals without any traffic.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// How long a queue may bring no message before the broker is asked about the queue and its consumers.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    /// First pause before a new connection or consumer; it doubles with each failure.
    #[serde(with = "humantime_serde")]
    pub retry_min: Duration,
    /// Longest such pause.
    #[serde(with = "humantime_serde")]
    pub retry_max: Duration,
    /// First pause after three consumers in a row that ended before they had acknowledged anything, or after they had acknowledged little; it doubles up to tenfold.
    #[serde(with = "humantime_serde")]
    pub abort_pause: Duration,
    /// Most time after SIGTERM for the messages that have been delivered.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
}

impl Default for AmqpSettings {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            queues: QueueNames::default(),
            provider: "invers".to_owned(),
            prefetch: 1000,
            timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
            check_interval: Duration::from_secs(30),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(30),
            abort_pause: Duration::from_secs(60),
            shutdown_timeout: Duration::from_secs(25),
        }
    }
}

/// Names of queues at the broker, given as one text, separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueNames(pub Vec<String>);

impl<'de> Deserialize<'de> for QueueNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Ok(Self(names.map(str::to_owned).collect()))
    }
}

impl Serialize for QueueNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.join(","))
    }
}
