//! The hosts of a database URL: which of them is the primary, and how long each may take.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connection::{Connection, open};
use crate::session::Session;
use crate::{StoreError, host_config};

/// The hosts of one URL.
///
/// The driver could try them itself, but gives each address the whole time and does not bound the log-in: behind a host
/// that swallows packets it would never reach the next one.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// One configuration for each host.
    each: Vec<Config>,
    /// `load_balance_hosts=random`.
    is_random: bool,
    /// For all hosts together.
    timeout: Duration,
    /// The host that was connected to last. It is tried first: after a failover, the lost host would otherwise delay
    /// every new connection.
    current: AtomicUsize,
}

impl Hosts {
    /// The hosts in `config`, which get `timeout` together.
    ///
    /// # Errors
    ///
    /// [`StoreError::Url`] if hosts, addresses and ports do not match.
    pub(crate) fn new(config: &Config, timeout: Duration) -> Result<Self, StoreError> {
        let each = host_config::of_each_host(config)?;
        let is_random = config.get_load_balance_hosts() == LoadBalanceHosts::Random;
        Ok(Self { each, is_random, timeout, current: AtomicUsize::new(0) })
    }

    /// Whether a connection to this host is to be used. After a failover, those to the previous primary are not.
    pub(crate) fn is_current(&self, host: usize) -> bool {
        self.is_random || self.current.load(Ordering::Relaxed) == host
    }

    /// Connects to the first host that accepts a connection of the wanted kind, and reads the settings of the session.
    ///
    /// # Errors
    ///
    /// The error of the only host, or [`StoreError::Hosts`] with those of all hosts.
    pub(crate) async fn connect(&self, tls: &MakeRustlsConnect) -> Result<(Connection, Session), StoreError> {
        let deadline = Instant::now() + self.timeout;
        let order = self.order();
        let mut failures = Vec::new();
        for (position, &host) in order.iter().enumerate() {
            let Some(config) = self.each.get(host) else { continue };
            let until = share(deadline, order.len() - position);
            match connect_host(config, until, tls).await {
                Ok((mut connection, session)) => {
                    self.current.store(host, Ordering::Relaxed);
                    connection.host = host;
                    return Ok((connection, session));
                }
                Err(error) => failures.push((host_config::name(config), error)),
            }
        }
        Err(match failures.len() {
            1 => failures.remove(0).1,
            _several => StoreError::Hosts(failures),
        })
    }

    fn order(&self) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.each.len()).collect();
        if self.is_random {
            fastrand::shuffle(&mut order);
        } else {
            let current = self.current.load(Ordering::Relaxed);
            order.rotate_left(current.min(self.each.len()));
        }
        order
    }
}

/// The end of the turn of the next one of `left` hosts or addresses. One that fails early leaves its time to the others.
fn share(deadline: Instant, left: usize) -> Instant {
    let now = Instant::now();
    let left = u32::try_from(left.max(1)).unwrap_or(u32::MAX);
    now + deadline.saturating_duration_since(now) / left
}

/// Tries each address of a host.
async fn connect_host(
    config: &Config,
    until: Instant,
    tls: &MakeRustlsConnect,
) -> Result<(Connection, Session), StoreError> {
    let started = Instant::now();
    let late = || StoreError::Timeout(until.saturating_duration_since(started));
    let (Some(Host::Tcp(name)), []) = (config.get_hosts().first(), config.get_hostaddrs()) else {
        return timeout_at(until, open(config, tls)).await.unwrap_or_else(|_elapsed| Err(late()));
    };
    let port = host_config::port(config);
    let found = timeout_at(until, lookup_host((name.as_str(), port))).await.map_err(|_elapsed| late())?;
    let addresses: Vec<_> = found.map_err(|error| StoreError::Lookup(name.clone(), error))?.collect();
    let mut last = None;
    for (position, address) in addresses.iter().enumerate() {
        let mut at_address = config.clone();
        // The certificate is still checked against the host's name.
        at_address.hostaddr(address.ip());
        let until = share(until, addresses.len() - position);
        let opened = timeout_at(until, open(&at_address, tls)).await;
        match opened.unwrap_or_else(|_elapsed| Err(late())) {
            Ok(opened) => return Ok(opened),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(late))
}
