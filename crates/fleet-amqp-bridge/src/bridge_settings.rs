//! Checks the settings at the start: the broker, its queues, and the provider.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use fleet_providers::{PROVIDERS, Provider, provider};
use fleet_queue::Queue;
use fleet_runtime::settings::{AmqpSettings, Settings, SettingsError};
use fleet_tls::{Check, TrustAnchors, client_config};
use lapin::tcp::RustlsConnector;
use lapin::uri::{AMQPScheme, AMQPUri};

/// The longest name of a queue in the protocol.
const MAX_QUEUE_NAME_BYTES: usize = 255;

/// The value of `FLEET_AMQP__CA_FILE` that means the system's CAs.
const SYSTEM: &str = "system";

/// What the bridge consumes, and where to.
pub struct BridgeSettings {
    /// The provider that the messages come from.
    pub provider: &'static Provider,
    /// The broker's queues.
    pub queues: Vec<String>,
    /// The provider's queues in Redis.
    pub(crate) redis_queues: Vec<Queue>,
    /// Most bytes of the provider's messages in Redis.
    pub(crate) max_backlog_bytes: u64,
    /// Most bytes of a body. Of a larger one, only the beginning is pushed.
    pub(crate) max_body_bytes: usize,
    pub(crate) limits: PushLimits,
    /// Most unacknowledged messages of each of the broker's queues.
    pub(crate) prefetch: u16,
    /// How long a queue may be silent before the broker is asked about it.
    pub(crate) check_interval: Duration,
    pub(crate) broker: Broker,
}

/// The bounds of one push.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PushLimits {
    pub(crate) max_messages: usize,
    /// A single larger message is pushed alone.
    pub(crate) max_bytes: usize,
}

/// How to reach the broker. It holds a password.
#[derive(Clone)]
pub(crate) struct Broker {
    pub(crate) uri: AMQPUri,
    /// Absent without TLS.
    pub(crate) tls: Option<RustlsConnector>,
    /// Most time for the connection, and for each operation on it.
    pub(crate) timeout: Duration,
}

impl Broker {
    /// Host and port, for the log.
    pub(crate) fn address(&self) -> String {
        let authority = &self.uri.authority;
        format!("{}:{}", authority.host, authority.port)
    }
}

/// What the bridge needs. Also makes sure that Redis' URL can be used.
///
/// # Errors
///
/// Everything that is wrong with what the bridge needs, at once.
pub fn bridge_settings(settings: &Settings) -> Result<BridgeSettings, SettingsError> {
    let mut errors = Vec::new();
    let broker = broker(settings).map_err(|error| errors.push(error)).ok();
    errors.extend(wrong_queues(&settings.amqp));
    let found = provider(&settings.amqp.provider);
    if found.is_none() {
        let known: Vec<_> = PROVIDERS.iter().map(|provider| provider.slug).collect();
        errors.push(format!("FLEET_AMQP__PROVIDER: there is no such provider; use {}", known.join(", ")));
    }
    errors.extend(settings.redis().problems());
    match (broker, found) {
        (Some(broker), Some(provider)) if errors.is_empty() => Ok(complete(settings, broker, provider)),
        (Some(_) | None, Some(_) | None) => Err(SettingsError(errors)),
    }
}

fn complete(settings: &Settings, broker: Broker, provider: &'static Provider) -> BridgeSettings {
    let given = settings.providers.get(provider.slug).cloned().unwrap_or_default();
    let max_body_bytes = given.max_body_bytes.unwrap_or(settings.api.max_body_bytes);
    BridgeSettings {
        provider,
        queues: settings.amqp.queues.0.clone(),
        redis_queues: settings.queues_of(provider.slug).collect(),
        max_backlog_bytes: given.max_backlog_bytes,
        max_body_bytes: usize::try_from(max_body_bytes).unwrap_or(usize::MAX),
        limits: PushLimits {
            max_messages: settings.api.commit_max_messages.max(1),
            max_bytes: settings.api.commit_max_bytes,
        },
        prefetch: settings.amqp.prefetch,
        check_interval: settings.amqp.check_interval,
        broker,
    }
}

/// The broker, or what is wrong with its URL. The URL is not shown, because it holds a password.
fn broker(settings: &Settings) -> Result<Broker, String> {
    let example = "amqps://user:password@host:5671/vhost";
    let Some(url) = &settings.amqp.url else {
        return Err(format!("FLEET_AMQP__URL: is missing; set it to {example}"));
    };
    let uri = url.expose().parse::<AMQPUri>();
    let Ok(mut uri) = uri else {
        return Err(format!(
            "FLEET_AMQP__URL: is no URL of an AMQP broker; it looks like {example}, with special characters percent-encoded"
        ));
    };
    let seconds = u16::try_from(settings.amqp.heartbeat.as_secs()).unwrap_or(u16::MAX);
    uri.query.heartbeat = Some(seconds.max(1));
    let tls = match uri.scheme {
        AMQPScheme::AMQP if settings.tls.ca_file.is_some() => {
            return Err(
                "FLEET_AMQP__URL: begins with amqp://, but FLEET_TLS__CA_FILE requires TLS; use amqps://"
                    .to_owned(),
            );
        }
        AMQPScheme::AMQP => None,
        AMQPScheme::AMQPS => Some(tls(settings)?),
    };
    Ok(Broker { uri, tls, timeout: settings.amqp.timeout })
}

fn tls(settings: &Settings) -> Result<RustlsConnector, String> {
    let (own, shared) = (settings.amqp.ca_file.as_deref(), settings.tls.ca_file.as_deref());
    let anchors = match own {
        Some(name) if name == Path::new(SYSTEM) => Ok(TrustAnchors::System),
        Some(_) | None => TrustAnchors::read(own.or(shared)),
    };
    let config = anchors.and_then(|anchors| client_config(&anchors, Check::ChainAndName));
    config.map(RustlsConnector::from).map_err(|error| format!("FLEET_AMQP__CA_FILE: {error}"))
}

fn wrong_queues(amqp: &AmqpSettings) -> Option<String> {
    let names = &amqp.queues.0;
    let problem = if names.is_empty() {
        "is missing; set it to the names of the queues, separated by commas"
    } else if names.iter().any(|name| name.len() > MAX_QUEUE_NAME_BYTES) {
        "a name has more than 255 bytes; separate names by commas"
    } else if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        "names a queue twice"
    } else {
        return None;
    };
    Some(format!("FLEET_AMQP__QUEUES: {problem}"))
}

#[cfg(test)]
mod tests {
    use fleet_runtime::settings::{ConnectionUrl, QueueNames};

    use super::*;

    fn settings(url: &str, queues: &[&str]) -> Settings {
        let mut settings = Settings::default();
        settings.amqp.url = Some(ConnectionUrl::from(url));
        settings.amqp.queues = QueueNames(queues.iter().map(|&name| name.to_owned()).collect());
        settings
    }

    fn problems(settings: &Settings) -> String {
        bridge_settings(settings).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_complete_configuration_has_the_defaults() {
        let given = settings("amqp://f-FLT23:p%40ss@broker:5672/customer", &["states", "alarms"]);
        let bridge = bridge_settings(&given).unwrap();
        assert_eq!((bridge.provider.slug, bridge.queues.len(), bridge.prefetch), ("invers", 2, 1000));
        let uri = &bridge.broker.uri;
        assert_eq!((uri.authority.userinfo.password.as_str(), uri.vhost.as_str()), ("p@ss", "customer"));
        assert_eq!((uri.query.heartbeat, bridge.broker.address()), (Some(15), "broker:5672".to_owned()));
    }

    #[test]
    fn all_problems_are_named_at_once_without_the_password() {
        let mut none = Settings::default();
        none.amqp.provider = "unheard-of".to_owned();
        let said = problems(&none);
        for variable in ["FLEET_AMQP__URL", "FLEET_AMQP__QUEUES", "FLEET_AMQP__PROVIDER"] {
            assert!(said.contains(variable), "{said}");
        }
        for url in ["http://user:hunter2@broker", "amqp://user:hunter2@broker:port", "hunter2"] {
            let said = problems(&settings(url, &["states", "states"]));
            assert!(said.contains("FLEET_AMQP__URL") && said.contains("names a queue twice"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
