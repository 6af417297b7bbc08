//! The most files that the API opens.

use fleet_runtime::admin;
use fleet_runtime::open_files::{OpenFilesError, allow_open_files};
use fleet_runtime::settings::{Settings, SettingsError};

/// Files besides the connections: the two listeners, standard input, output and error, the event queues of the two runtimes, the
/// signals, and for a moment name lookups, the CA file, the secrets files and the files of `/proc` that the metrics read. That is
/// below 35.
const OTHERS: usize = 49;

/// Links to Redis that watch the server and its replicas, for all queues or, in a Redis Cluster, for each of them.
const WATCHES: usize = 2;

/// Makes sure that the process may open every connection that the settings allow.
///
/// # Errors
///
/// If the hard limit of open files is too low, with both remedies.
pub fn prepare(settings: &Settings) -> Result<(), SettingsError> {
    let queues: usize = settings.providers.values().map(|provider| usize::from(provider.shards)).sum();
    let watched = if settings.queues_share_a_server() { 1 } else { queues };
    let links = queues + WATCHES * watched;
    let reserve = admin::MAX_CONNECTIONS + OTHERS + links * settings.redis().connections_per_link();
    let needed = wide(settings.api.max_connections.saturating_add(reserve));
    allow_open_files(needed).map_err(|error| {
        let room = match error {
            OpenFilesError::HardLimit { hard, .. } => hard.saturating_sub(wide(reserve)),
            OpenFilesError::Refused { .. } => 0,
        };
        let lower = if room == 0 { String::new() } else { format!(", or lower this setting to {room}") };
        SettingsError(vec![format!(
            "FLEET_API__MAX_CONNECTIONS (api.max_connections): {error}, {reserve} of them for other purposes than these \
             connections; raise the limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker){lower}"
        )])
    })
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
