//! Replicas of a private Redis.

use std::collections::HashMap;
use std::time::Duration;

use super::{Redis, RedisOptions};
use crate::Error;
use crate::process::holds_within;

/// The deadline for a replica to copy its primary's data and to follow it.
const SYNCED_WITHIN: Duration = Duration::from_secs(30);

impl Redis {
    /// Starts a replica of this server with the same options, and waits until it has copied everything. It
    /// logs in to its primary as `replica`, a user of `compose/replication.acl`.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if it does not become ready, [`Error::Control`] if it does not copy everything in time.
    pub fn replica(&self) -> Result<Self, Error> {
        let options = RedisOptions { announced_port: None, source: None, ..self.options.clone() };
        let replica = self.replica_with(options)?;
        replica.wait_synced()?;
        Ok(replica)
    }

    /// Starts a replica of this server with these options, except for [`RedisOptions::replica_of`]. Does not
    /// wait until it has copied anything.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if it does not become ready.
    pub fn replica_with(&self, options: RedisOptions) -> Result<Self, Error> {
        let replica_of = Some(self.announced_port());
        Self::start_with(&self.root, RedisOptions { replica_of, ..options })
    }

    /// The port that other servers and clients are told to use.
    #[must_use]
    pub fn announced_port(&self) -> u16 {
        self.options.announced_port.unwrap_or(self.port)
    }

    /// Waits until this replica has copied everything from its primary and follows it.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it has not after 30 s.
    pub fn wait_synced(&self) -> Result<(), Error> {
        if holds_within(SYNCED_WITHIN, || self.is_synced()) {
            return Ok(());
        }
        let replication = self.command(&["INFO", "replication"]).map(|info| info.join("\n"));
        Err(self.process.control_error(&format!("the replica does not follow its primary: {replication:?}")))
    }

    /// Whether this is a replica that follows its primary, and whose append-only file has all that it received.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        let is = |facts: &HashMap<String, String>, name: &str, value: &str| {
            facts.get(name).is_some_and(|found| found == value)
        };
        // A first copy is in the append-only file after it has been rewritten.
        self.info("replication").is_ok_and(|facts| is(&facts, "master_link_status", "up"))
            && self.info("persistence").is_ok_and(|facts| {
                is(&facts, "aof_enabled", "1") && is(&facts, "aof_rewrite_in_progress", "0")
            })
    }

    /// The port of the server that this replica follows. `None` if it follows none.
    #[must_use]
    pub fn primary_port(&self) -> Option<u16> {
        self.info("replication").ok()?.get("master_port")?.parse().ok()
    }

    /// Whether the server considers itself a primary.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.command(&["ROLE"]).is_ok_and(|role| role.first().is_some_and(|role| role == "master"))
    }

    /// A section of INFO.
    ///
    /// # Errors
    ///
    /// Same as [`Redis::command`].
    pub fn info(&self, section: &str) -> Result<HashMap<String, String>, Error> {
        let text = self.command(&["INFO", section])?.join("\n");
        let facts = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Ok(facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Makes this server a replica of the server on this loopback port, or a primary. Sentinels do the same.
    ///
    /// # Errors
    ///
    /// Same as [`Redis::command`].
    pub fn follow(&self, primary: Option<u16>) -> Result<(), Error> {
        match primary {
            Some(port) => self.command(&["REPLICAOF", "127.0.0.1", &port.to_string()])?,
            None => self.command(&["REPLICAOF", "NO", "ONE"])?,
        };
        // A restart keeps the role.
        self.command(&["CONFIG", "REWRITE"]).map(drop)
    }
}
