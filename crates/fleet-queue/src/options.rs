//! How to reach Redis.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{ConnectionInfo, RedisConnectionInfo};
use secrecy::{ExposeSecret, SecretString};

use crate::hosts;
use crate::keys::QueueKeys;
use crate::report::{Listener, Report};
use crate::topology::Topology;

/// Everything that [`RedisLink::open`](crate::RedisLink::open) needs to know. `Debug` does not show the URL, which may
/// contain a password.
#[derive(Clone, Debug)]
pub struct RedisLinkOptions {
    url: SecretString,
    ca_file: Option<PathBuf>,
    timeout: Duration,
    topology: Topology,
    sentinel: SentinelOptions,
    queue: Option<QueueKeys>,
    listener: Listener,
}

/// What the Sentinels need to know. They must stay empty if the topology is another one.
#[derive(Clone, Debug, Default)]
pub struct SentinelOptions {
    /// The name of the primary, as in `sentinel monitor <name>`.
    pub name: Option<String>,
    /// The user of the Sentinels themselves; the user `default` if absent.
    pub user: Option<String>,
    /// The password of the Sentinels themselves; they require no login if absent.
    pub password: Option<SecretString>,
}

impl RedisLinkOptions {
    /// Options for the server at `url`. `timeout` bounds every call, including connecting and repetitions.
    ///
    /// `redis://` connects without TLS, `rediss://` with TLS. With TLS, the server's certificate must be valid for the
    /// host that the link connects to, and signed by one of the system's CAs. The URL may name several hosts, such as
    /// `redis://user:password@a:6379,b:6379/0`. [`Topology`] says what they are.
    #[must_use]
    pub fn new(url: &str, timeout: Duration) -> Self {
        Self {
            url: SecretString::from(url),
            ca_file: None,
            timeout,
            topology: Topology::Single,
            sentinel: SentinelOptions::default(),
            queue: None,
            listener: Listener::default(),
        }
    }

    /// Trusts the CAs in this PEM file instead of the system's; with `None`, the system's.
    #[must_use]
    pub fn with_ca_file(self, ca_file: Option<&Path>) -> Self {
        Self { ca_file: ca_file.map(Path::to_path_buf), ..self }
    }

    /// Says what the URL's hosts are.
    #[must_use]
    pub fn with_topology(self, topology: Topology, sentinel: SentinelOptions) -> Self {
        Self { topology, sentinel, ..self }
    }

    /// A link to the server that holds this queue. In a Redis Cluster, the slot of the queue's keys decides which server that
    /// is, and a link may be used for this queue only. With another topology, every queue is on the one primary. Logs and
    /// metrics name the queue.
    #[must_use]
    pub fn for_queue(self, keys: &QueueKeys) -> Self {
        Self { queue: Some(keys.clone()), ..self }
    }

    /// Tells `listener` what happens to the link, for logs and metrics. It must not block.
    #[must_use]
    pub fn reporting_to(self, listener: fn(&Report<'_>)) -> Self {
        Self { listener: Listener(Some(listener)), ..self }
    }

    /// Everything that can never work, one sentence each, beginning with the variable's name. Does not read the file of the
    /// CAs.
    pub fn problems(&self) -> Vec<String> {
        let hosts = hosts::parse(self.url(), self.topology).err().unwrap_or_default();
        let hosts = hosts.into_iter().map(|problem| format!("FLEET_REDIS_URL: {problem}"));
        hosts.chain(self.sentinel_problems()).collect()
    }

    fn sentinel_problems(&self) -> Vec<String> {
        let SentinelOptions { name, user, password } = &self.sentinel;
        let mut problems = Vec::new();
        if self.topology == Topology::Sentinel {
            if name.is_none() {
                problems.push(
                    "FLEET_REDIS__SENTINEL_NAME: is missing; set it to the name of the primary, as in `sentinel monitor \
                     <name>` of the Sentinels' configuration"
                        .to_owned(),
                );
            }
            if user.is_some() && password.is_none() {
                problems.push(
                    "FLEET_REDIS__SENTINEL_PASSWORD: is missing; set it, or remove FLEET_REDIS__SENTINEL_USER".to_owned(),
                );
            }
            return problems;
        }
        let given = [
            ("FLEET_REDIS__SENTINEL_NAME", name.is_some()),
            ("FLEET_REDIS__SENTINEL_USER", user.is_some()),
            ("FLEET_REDIS__SENTINEL_PASSWORD", password.is_some()),
        ];
        let given = given.into_iter().filter(|(_variable, is_given)| *is_given);
        given
            .map(|(variable, _)| {
                format!("{variable}: is only for Sentinels; remove it, or set FLEET_REDIS__TOPOLOGY=sentinel")
            })
            .collect()
    }

    /// The most connections that one link has at a time: to its server, a new one beside an old one that is being closed, and one
    /// to every host of the URL, to find the primary.
    pub fn connections_per_link(&self) -> usize {
        2 + hosts::parse(self.url(), self.topology).map_or(1, |hosts| hosts.len())
    }

    /// The URL's hosts, with the login of Redis.
    pub(crate) fn hosts(&self) -> Result<Vec<ConnectionInfo>, Vec<String>> {
        let problems = self.problems();
        if problems.is_empty() { hosts::parse(self.url(), self.topology) } else { Err(problems) }
    }

    fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// The login of the Sentinels, which is not that of Redis.
    pub(crate) fn sentinel_login(&self) -> RedisConnectionInfo {
        let SentinelOptions { user, password, .. } = &self.sentinel;
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(user) = user {
            login = login.set_username(user);
        }
        if let Some(password) = password {
            login = login.set_password(password.expose_secret());
        }
        login
    }

    /// The name of the primary; empty with another topology.
    pub(crate) fn sentinel_name(&self) -> &str {
        self.sentinel.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn topology(&self) -> Topology {
        self.topology
    }

    pub(crate) fn queue(&self) -> Option<&QueueKeys> {
        self.queue.as_ref()
    }

    pub(crate) fn listener(&self) -> Listener {
        self.listener
    }

    pub(crate) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> RedisLinkOptions {
        RedisLinkOptions::new("redis://api:hunter2@a:1,b:2/1", Duration::from_secs(1))
    }

    fn sentinel(name: Option<&str>, user: Option<&str>, password: Option<&str>) -> SentinelOptions {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        SentinelOptions { name: owned(name), user: owned(user), password: password.map(SecretString::from) }
    }

    #[test]
    fn debug_does_not_show_a_password() {
        let options =
            options().with_topology(Topology::Sentinel, sentinel(Some("fleet"), Some("x"), Some("hunter2")));
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn settings_must_fit_the_topology() {
        let problems = |topology, sentinel| options().with_topology(topology, sentinel).problems().join("\n");
        assert_eq!(problems(Topology::Single, SentinelOptions::default()), "");
        assert_eq!(problems(Topology::Sentinel, sentinel(Some("fleet"), None, Some("x"))), "");
        let missing = problems(Topology::Sentinel, sentinel(None, Some("x"), None));
        assert!(
            missing.contains("SENTINEL_NAME: is missing") && missing.contains("SENTINEL_PASSWORD"),
            "{missing}"
        );
        let spare = problems(Topology::Cluster, sentinel(Some("fleet"), None, Some("x")));
        for variable in ["FLEET_REDIS_URL", "FLEET_REDIS__SENTINEL_NAME", "FLEET_REDIS__SENTINEL_PASSWORD"] {
            assert!(spare.contains(&format!("{variable}: ")), "{variable}: {spare}");
        }
    }
}
