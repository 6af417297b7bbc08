//! Private Sentinels that watch a private Redis.

mod options;
mod server;

use std::time::Duration;

pub use self::options::{SENTINEL_NAME, SentinelOptions};
use self::server::Sentinel;
use crate::Error;
use crate::logins::admin_url_of;
use crate::process::holds_within;
use crate::redis::Redis;

/// The deadline for the Sentinels to agree.
const AGREED_WITHIN: Duration = Duration::from_secs(30);

/// Private Sentinels on loopback ports, with writable configuration files. They log in to the servers as
/// `sentinel`, a user of `compose/replication.acl`. Dropping them stops them.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Sentinel>,
    options: SentinelOptions,
}

impl Sentinels {
    /// Starts `count` Sentinels that watch `primary` under the name [`SENTINEL_NAME`], and waits until they
    /// know each other. A majority of them decides.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if a Sentinel does not become ready, [`Error::Control`] if they do not find each other.
    pub fn start(primary: &Redis, count: usize, options: SentinelOptions) -> Result<Self, Error> {
        let quorum = count / 2 + 1;
        let start = |_| Sentinel::start(primary.announced_port(), quorum, &options);
        let sentinels = (0..count).map(start).collect::<Result<_, _>>()?;
        let sentinels = Self { sentinels, options };
        sentinels.wait("know each other", |sentinel| sentinel.knows_others(count - 1))?;
        Ok(sentinels)
    }

    /// `redis://fleet:fleet@` and the Sentinels' addresses, or `rediss://…` with TLS. The credentials are
    /// the administrator's on the servers.
    /// [`RedisLogin::of`](crate::RedisLogin::of) returns it for another login.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        admin_url_of(scheme, &self.ports(), "")
    }

    /// The Sentinels' TCP ports.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(Sentinel::port).collect()
    }

    /// The port of the primary that the Sentinels agree on. `None` if they disagree, or if one of them does not
    /// respond.
    #[must_use]
    pub fn primary(&self) -> Option<u16> {
        let (first, others) = self.sentinels.split_first()?;
        let primary = first.primary().ok()?;
        others.iter().all(|other| other.primary().is_ok_and(|port| port == primary)).then_some(primary)
    }

    /// Waits until the Sentinels agree on a primary that `accepts` accepts, and returns its port.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if they do not within 30 s.
    pub fn wait_primary(&self, accepts: impl Fn(u16) -> bool) -> Result<u16, Error> {
        let mut found = None;
        if holds_within(AGREED_WITHIN, || {
            found = self.primary().filter(|&port| accepts(port));
            found.is_some()
        }) && let Some(port) = found
        {
            return Ok(port);
        }
        Err(self.disagreement("agree on an expected primary"))
    }

    /// Whether every Sentinel knows at least `count` replicas that are up and may be promoted.
    #[must_use]
    pub fn know_replicas(&self, count: usize) -> bool {
        self.sentinels.iter().all(|sentinel| sentinel.knows_replicas(count))
    }

    /// Waits until every Sentinel knows at least `count` replicas that are up and may be promoted.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if they do not within 30 s.
    pub fn wait_replicas(&self, count: usize) -> Result<(), Error> {
        self.wait("know the replicas", |sentinel| sentinel.knows_replicas(count))
    }

    /// Makes the Sentinels promote a replica although the primary is up.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if no replica can be promoted.
    pub fn fail_over(&self) -> Result<(), Error> {
        let asked = self.sentinels.iter().map(|sentinel| sentinel.command(&["FAILOVER", SENTINEL_NAME]));
        asked.take(1).try_for_each(|reply| reply.map(drop))
    }

    /// Makes the Sentinels forget all replicas and find those that are up again, one Sentinel after another.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if a Sentinel does not find the others again.
    pub fn reset(&self) -> Result<(), Error> {
        let others = self.sentinels.len() - 1;
        for sentinel in &self.sentinels {
            sentinel.command(&["RESET", SENTINEL_NAME])?;
            self.wait("know each other again", |sentinel| sentinel.knows_others(others))?;
        }
        Ok(())
    }

    /// Kills a Sentinel with SIGKILL. Its file remains for [`Sentinels::restart`].
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if the process cannot be killed.
    pub fn kill(&mut self, index: usize) -> Result<(), Error> {
        self.sentinels[index].kill()
    }

    /// Restarts a Sentinel on the same port with the same file.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if it does not become ready.
    pub fn restart(&mut self, index: usize) -> Result<(), Error> {
        self.sentinels[index].restart()
    }

    /// Pauses a Sentinel with SIGSTOP: connections stay open without responses.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not run.
    pub fn pause(&mut self, index: usize) -> Result<(), Error> {
        self.sentinels[index].pause()
    }

    /// Resumes after [`Sentinels::pause`].
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not run.
    pub fn resume(&mut self, index: usize) -> Result<(), Error> {
        self.sentinels[index].resume()
    }

    fn wait(&self, what: &str, holds: impl Fn(&Sentinel) -> bool) -> Result<(), Error> {
        if holds_within(AGREED_WITHIN, || self.sentinels.iter().all(&holds)) {
            return Ok(());
        }
        Err(self.disagreement(what))
    }

    fn disagreement(&self, what: &str) -> Error {
        let views = self.sentinels.iter().map(|sentinel| format!("{:?}", sentinel.view()));
        let views = views.collect::<Vec<_>>().join("\n");
        let seconds = AGREED_WITHIN.as_secs();
        let reason = format!("they do not {what} after {seconds} s; they see\n{views}");
        Error::Control { server: "the Sentinels", reason }
    }
}
