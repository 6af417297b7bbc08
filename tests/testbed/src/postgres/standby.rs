//! Standbys of a private PostgreSQL: streaming replication and promotion.

use std::time::Duration;

use super::Postgres;
use super::cluster::{FLEET, copy, launch, show, wait_ready};
use super::options::PostgresOptions;
use crate::data::DataFolder;
use crate::logins::admin_url;
use crate::process::{holds_within, on_free_port};
use crate::{Error, ServerCertificate};

/// The deadline for the beginning of the replication.
const STREAMS_WITHIN: Duration = Duration::from_mins(1);

/// The options of a standby.
#[derive(Debug, Clone, Default)]
pub struct StandbyOptions {
    /// Its name in the primary's `synchronous_standby_names`. If empty, it is `standby`.
    pub name: String,
    /// Its port, for example that of a destroyed server which it replaces. A free one if `None`.
    pub port: Option<u16>,
    /// Where it reaches the primary: the port of a [`Proxy`](crate::Proxy) in front of it, which can separate the
    /// two. The primary's own port if `None`.
    pub primary_port: Option<u16>,
    /// Its own certificate. If `None`, it uses the primary's, if that has one.
    pub tls: Option<ServerCertificate>,
    /// Settings that override the primary's, such as `max_connections=300`.
    pub extra: Vec<String>,
}

impl Postgres {
    /// Builds a standby from a copy of `primary`, and waits until it receives the primary's changes. It has the
    /// primary's users, databases and settings.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if the primary cannot be copied, or if the standby does not become ready or does not stream
    /// within a minute.
    pub fn standby_of(primary: &Self, options: StandbyOptions) -> Result<Self, Error> {
        let StandbyOptions { name, port, primary_port, tls, extra } = options;
        let name = if name.is_empty() { "standby".to_owned() } else { name };
        let (root, account) = (&primary.root, primary.account);
        let folder = DataFolder::create(root, account)?;
        let path = format!("/{FLEET}?application_name={name}");
        copy(root, account, &folder, &admin_url("postgres", primary_port.unwrap_or(primary.port), &path))?;
        if let Some(certificate) = &tls {
            show(&folder, account, certificate)?;
        }
        let options = PostgresOptions {
            extra: [primary.options.extra.clone(), extra].concat(),
            tls: tls.or_else(|| primary.options.tls.clone()),
            without_logins: primary.options.without_logins,
        };
        let start = |port| launch(root, account, &folder, port, &options);
        let (process, port) = match port {
            Some(port) => {
                let mut process = start(port)?;
                wait_ready(&mut process, &folder)?;
                (process, port)
            }
            None => on_free_port(start, |process, _| wait_ready(process, &folder))?,
        };
        let standby = Self { process, root: root.clone(), account, folder, port, options };
        let mut last = Ok(false);
        holds_within(STREAMS_WITHIN, || {
            last = primary.streams_to(&name);
            last.as_ref().map_or(true, |&streams| streams)
        });
        if last? {
            return Ok(standby);
        }
        Err(standby.process.start_error(format!("no replication to {name} within a minute")))
    }

    /// Makes a standby the primary. Returns when it accepts writes.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it is no standby, or is not promoted within a minute.
    pub fn promote(&self) -> Result<(), Error> {
        match self.psql("SELECT pg_promote(true, 60)")?.as_str() {
            "t" => Ok(()),
            _ => Err(self.process.control_error("it was not promoted within a minute")),
        }
    }

    /// Whether it is a standby.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not respond.
    pub fn is_in_recovery(&self) -> Result<bool, Error> {
        Ok(self.psql("SELECT pg_is_in_recovery()")? == "t")
    }

    /// Sets `synchronous_standby_names`, for example to `ANY 1 (*)`: commits then wait for a standby. With an empty
    /// text they wait for none. Takes effect at once, and remains after restarts and in copies.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if PostgreSQL refuses it.
    pub fn set_synchronous_standbys(&self, names: &str) -> Result<(), Error> {
        self.psql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"))?;
        self.psql("SELECT pg_reload_conf()")?;
        let reads = || self.psql("SHOW synchronous_standby_names").is_ok_and(|shown| shown == names);
        if holds_within(STREAMS_WITHIN, reads) {
            return Ok(());
        }
        Err(self.process.control_error("synchronous_standby_names did not change within a minute"))
    }

    /// Whether it sends its changes to the standby of this name, which has caught up.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not respond.
    pub fn streams_to(&self, standby: &str) -> Result<bool, Error> {
        let streaming = format!(
            "SELECT count(*) > 0 FROM pg_stat_replication WHERE application_name = '{standby}' AND state = 'streaming'"
        );
        Ok(self.psql(&streaming)? == "t")
    }

    /// Whether commits wait for a standby that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not respond.
    pub fn has_synchronous_standby(&self) -> Result<bool, Error> {
        let synchronous = "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum') AND state = 'streaming'";
        Ok(self.psql(synchronous)? == "t")
    }
}
