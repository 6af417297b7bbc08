//! How to reach a database, and the bounds of a pool.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::hosts::Hosts;
use crate::tls::TlsParameters;
use crate::{StoreError, session};

/// A standby would refuse the writes of every batch.
const PRIMARY_ONLY: &str = "with several hosts, target_session_attrs must be read-write (the default then), because \
                            only the primary accepts writes; to read from a standby, name only its host";

/// How to reach a database, and the bounds of a `Database`.
#[derive(Clone, Copy)]
pub struct DatabaseOptions<'a> {
    /// `postgres://user:password@host:port/database`. Its parameters `sslmode` and `sslrootcert` configure TLS. Of
    /// several hosts, `host:port,host:port`, the first one that accepts writes is used.
    pub url: &'a str,
    /// A PEM file with the CAs to trust if the URL has no `sslrootcert`. `None` means the system's CAs.
    pub ca_file: Option<&'a Path>,
    /// The maximum number of connections.
    pub pool_size: usize,
    /// The longest wait for a connection, and the longest time to open a new one, for all hosts together.
    pub connect_timeout: Duration,
    /// The longest run of one statement. The server cancels the statement then.
    pub statement_timeout: Duration,
    /// The name of the program in `pg_stat_activity`, unless the URL has one.
    pub application_name: &'a str,
}

impl<'a> DatabaseOptions<'a> {
    /// Options with defaults: the system's CAs, 8 connections, 10 seconds to connect, 30 seconds for a statement.
    pub fn new(url: &'a str) -> Self {
        Self {
            url,
            ca_file: None,
            pool_size: 8,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            application_name: "fleet-consumer",
        }
    }

    /// The hosts to connect to, and how. The start-up message carries the session's settings.
    ///
    /// # Errors
    ///
    /// [`StoreError::Url`] if the URL cannot be parsed or does not ask for the primary, [`StoreError::Tls`] if its CAs
    /// cannot be read.
    pub(crate) fn hosts(&self) -> Result<(Hosts, MakeRustlsConnect), StoreError> {
        let parameters = TlsParameters::take(self.url, self.ca_file.is_some())?;
        let mut config: Config = parameters.url.parse().map_err(|error: tokio_postgres::Error| {
            // The error's cause may quote the URL, and with it the password.
            StoreError::Url(error.to_string())
        })?;
        if config.get_hosts().len().max(config.get_hostaddrs().len()) > 1 {
            match parameters.target_session_attrs.as_deref() {
                None | Some("read-write") => {}
                Some(_others) => return Err(StoreError::Url(PRIMARY_ONLY.to_owned())),
            }
        }
        let options = session::options(self.statement_timeout, config.get_options());
        config.options(options);
        if config.get_application_name().is_none() {
            config.application_name(self.application_name);
        }
        config.connect_timeout(self.connect_timeout);
        config.keepalives_idle(Duration::from_secs(30));
        // Every probe checks the user timeout.
        config.keepalives_interval(Duration::from_secs(10));
        config.tcp_user_timeout(self.statement_timeout);
        config.ssl_mode(parameters.mode);
        Ok((Hosts::new(&config, self.connect_timeout)?, parameters.connector(self.ca_file)?))
    }
}

impl fmt::Debug for DatabaseOptions<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, ca_file, pool_size, connect_timeout, statement_timeout, application_name } = self;
        // The URL may hold a password.
        formatter
            .debug_struct("DatabaseOptions")
            .field("ca_file", ca_file)
            .field("pool_size", pool_size)
            .field("connect_timeout", connect_timeout)
            .field("statement_timeout", statement_timeout)
            .field("application_name", application_name)
            .finish_non_exhaustive()
    }
}
