//! The most files that the service opens.

use fleet_runtime::admin;
use fleet_runtime::open_files::{OpenFilesError, allow_open_files};
use fleet_runtime::settings::{Settings, SettingsError};

/// Files besides the connections: the two listeners, standard input, output and error, the event queues of the two runtimes, the
/// signals, and for a moment name lookups, the CA file and the files of `/proc` that the metrics read. That is below 35.
const OTHERS: usize = 49;

/// Makes sure that the process may open every connection that the settings allow.
///
/// # Errors
///
/// If the hard limit of open files is too low, with both remedies.
pub fn prepare(settings: &Settings) -> Result<(), SettingsError> {
    // One connection reads the changes. Cancelling a statement takes another connection.
    let databases = (settings.database.pool_size + 1) * 2;
    let reserve = admin::MAX_CONNECTIONS + OTHERS + databases;
    let needed = wide(settings.query.max_connections.saturating_add(reserve));
    allow_open_files(needed).map_err(|error| {
        let room = match error {
            OpenFilesError::HardLimit { hard, .. } => hard.saturating_sub(wide(reserve)),
            OpenFilesError::Refused { .. } => 0,
        };
        let lower = if room == 0 { String::new() } else { format!(", or lower this setting to {room}") };
        SettingsError(vec![format!(
            "FLEET_QUERY__MAX_CONNECTIONS (query.max_connections): {error}, {reserve} of them for other purposes than these \
             connections; raise the limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker){lower}"
        )])
    })
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
