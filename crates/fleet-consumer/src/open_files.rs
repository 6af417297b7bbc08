//! The most files that the consumer opens.

use fleet_runtime::admin;
use fleet_runtime::open_files::allow_open_files;
use fleet_runtime::settings::{Settings, SettingsError};

/// Files besides the connections: the admin listener, standard input, output and error, the event queue, the signals, the pipes
/// of the child process that parses in isolation, and for a moment name lookups, the CA file and the files of `/proc` that the
/// metrics read.
const OTHERS: usize = 64;

/// Links to Redis for each queue: one of its workers, and one of the observers.
const LINKS: usize = 2;

/// The databases. Each has a pool of its own.
const DATABASES: usize = 2;

/// Makes sure that the process may open every connection that the settings lead to.
///
/// # Errors
///
/// If the hard limit of open files is too low, with both remedies.
pub fn prepare(settings: &Settings) -> Result<(), SettingsError> {
    let redis = LINKS * settings.queues().count() * settings.redis().connections_per_link();
    let needed = admin::MAX_CONNECTIONS + OTHERS + redis + DATABASES * settings.database.pool_size;
    allow_open_files(u64::try_from(needed).unwrap_or(u64::MAX)).map_err(|error| {
        SettingsError(vec![format!(
            "FLEET_PROVIDERS__<SLUG>__SHARDS (providers.<slug>.shards): {error}, {redis} of them for connections to Redis; raise \
             the limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker), or lower this setting"
        )])
    })
}
