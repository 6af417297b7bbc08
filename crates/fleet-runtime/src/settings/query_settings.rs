//! The query service: its listener, its bounds, and who may ask.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fleet_providers::Secrets;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strum::{IntoStaticStr, VariantArray};

use super::secret;

/// The query service and its bounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerySettings {
    /// Address of the listener. Without tokens it must be a loopback address.
    pub listen: SocketAddr,
    /// Most connections that wait in the kernel until they are accepted; `net.core.somaxconn` limits it.
    pub listen_backlog: u32,
    /// Most time for a request's headers, and for a client to leave a response unread.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Most time from a request to the end of its response; streams may take any time.
    #[serde(with = "humantime_serde")]
    pub response_timeout: Duration,
    /// Most open connections. At the limit, a new one replaces one that has brought no authenticated request.
    pub max_connections: usize,
    /// Most requests of one token in flight, without streams; more are answered 429.
    pub max_in_flight: usize,
    /// Most open streams of one token; more are answered 429. All tokens together may have three quarters of `max_connections`; more
    /// are answered 503.
    pub max_streams: usize,
    /// Most vehicles or positions in one response.
    pub max_page: usize,
    /// Most time between the two ends of a track.
    #[serde(with = "humantime_serde")]
    pub max_track_span: Duration,
    /// Time between two reads of the changes.
    #[serde(with = "humantime_serde")]
    pub refresh_interval: Duration,
    /// The age of the last read above which the service is not ready.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// Time between the heartbeats of a stream.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// How many changes are kept for streams that are behind or come back.
    pub remembered_changes: usize,
    /// Most time for the requests in flight after SIGTERM.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
    /// URL of the map's tiles, with `{z}`, `{x}` and `{y}`; no tiles if absent.
    pub tile_url: Option<String>,
    /// What the map says about the source of its tiles.
    pub tile_attribution: Option<String>,
    /// By name. Without any, everybody on this machine may ask.
    pub tokens: BTreeMap<String, TokenSettings>,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            listen_backlog: 1024,
            header_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(60),
            max_connections: 2048,
            max_in_flight: 256,
            max_streams: 1000,
            max_page: 10_000,
            max_track_span: Duration::from_secs(7 * 24 * 60 * 60),
            refresh_interval: Duration::from_millis(500),
            max_age: Duration::from_secs(300),
            heartbeat: Duration::from_secs(5),
            remembered_changes: 30_000,
            shutdown_timeout: Duration::from_secs(10),
            tile_url: None,
            tile_attribution: None,
            tokens: BTreeMap::new(),
        }
    }
}

/// Somebody who may ask.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenSettings {
    /// Valid bearer tokens, separated by commas (several while one is replaced).
    #[serde(deserialize_with = "secret::deserialize_list", serialize_with = "secret::serialize_list")]
    pub secrets: Secrets,
    /// A file with more of them, separated by commas or line ends; read at the start.
    pub secrets_file: Option<PathBuf>,
    /// What its bearer may read, separated by commas.
    #[serde(deserialize_with = "deserialize_scopes", serialize_with = "serialize_scopes")]
    pub scopes: Vec<Scope>,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self { secrets: Secrets::default(), secrets_file: None, scopes: vec![Scope::Positions] }
    }
}

/// What a token gives access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Where every vehicle is now.
    Positions,
    /// Where a vehicle was.
    Tracks,
}

impl Scope {
    /// Its name in settings and responses.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

fn deserialize_scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Scope>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let scope = |name: &str| Scope::VARIANTS.iter().copied().find(|scope| scope.name() == name);
    // The text is not shown, because it may be a misplaced secret.
    let scopes: Option<Vec<_>> = names.map(scope).collect();
    scopes
        .filter(|scopes| !scopes.is_empty())
        .ok_or_else(|| Error::custom("must be positions, tracks, or both separated by a comma"))
}

fn serialize_scopes<S: Serializer>(scopes: &[Scope], serializer: S) -> Result<S::Ok, S::Error> {
    let names: Vec<_> = scopes.iter().map(|scope| scope.name()).collect();
    serializer.collect_str(&names.join(","))
}
