//! The options of a private PostgreSQL.

use crate::ServerCertificate;

/// The options of a private PostgreSQL.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Settings such as `max_connections=20`.
    pub extra: Vec<String>,
    /// Sets `ssl=on`. Connections without TLS are accepted too.
    pub tls: Option<ServerCertificate>,
    /// Omits the roles, the logins and the extension, as on an unprepared server.
    pub without_logins: bool,
}
