//! One node of a private Redis Cluster.

use std::net::Ipv4Addr;

use super::options::ClusterOptions;
use super::view::View;
use crate::redis::owned;
use crate::root::Root;
use crate::{Error, Proxy, Redis, RedisOptions, free_port};

/// A node of a [`RedisCluster`](super::RedisCluster).
#[derive(Debug)]
pub struct ClusterNode {
    redis: Redis,
    id: String,
    /// The port for the other nodes.
    bus_port: u16,
    /// The address from which the node connects to the others.
    source: Ipv4Addr,
    /// In front of the node's port, then in front of its port for the other nodes.
    proxies: Option<[Proxy; 2]>,
}

impl ClusterNode {
    /// Starts an empty node that knows no other.
    pub(super) fn start(root: &Root, options: &ClusterOptions, index: usize) -> Result<Self, Error> {
        let proxies = if options.proxied { Some([Proxy::start(0)?, Proxy::start(0)?]) } else { None };
        // Each node has its own, so that a proxy can tell from which node a connection comes.
        let source = Ipv4Addr::new(127, 0, 1, u8::try_from(index + 1).unwrap_or(u8::MAX));
        let bus_port = free_port()?;
        let redis = start(root, options, source, bus_port, proxies.as_ref())?;
        let id = own_id(&redis)?;
        Ok(Self { redis, id, bus_port, source, proxies })
    }

    /// Starts an empty server instead of the current one, behind the same proxies. It has a new id.
    pub(super) fn start_again(&mut self, root: &Root, options: &ClusterOptions) -> Result<(), Error> {
        self.bus_port = free_port()?;
        self.redis = start(root, options, self.source, self.bus_port, self.proxies.as_ref())?;
        self.id = own_id(&self.redis)?;
        Ok(())
    }

    /// The server.
    #[must_use]
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// The server, for faults.
    pub fn redis_mut(&mut self) -> &mut Redis {
        &mut self.redis
    }

    /// The port that clients are told to use: that of the proxy if there is one.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.redis.announced_port()
    }

    /// The proxy in front of the node's port.
    #[must_use]
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxies().next()
    }

    /// The proxies in front of the node's two ports.
    pub(super) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.iter().flatten()
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn source(&self) -> Ipv4Addr {
        self.source
    }

    /// What the node knows about the cluster, if it responds.
    pub(super) fn view(&self) -> Option<View> {
        let nodes = self.redis.command(&["CLUSTER", "NODES"]).ok()?;
        Some(View::parse(&nodes.join("\n")))
    }

    /// Whether the node considers the cluster available.
    pub(super) fn is_ok(&self) -> bool {
        let info = self.redis.command(&["CLUSTER", "INFO"]).unwrap_or_default().join("\n");
        info.lines().any(|line| line.trim_end() == "cluster_state:ok")
    }

    /// The slot of a key.
    pub(super) fn slot(&self, key: &str) -> Option<u16> {
        self.redis.command(&["CLUSTER", "KEYSLOT", key]).ok()?.first()?.parse().ok()
    }

    /// Introduces the node to another one.
    pub(super) fn meet(&self, other: &Self) -> Result<(), Error> {
        let bus = other.proxies.as_ref().map_or(other.bus_port, |[_, bus]| bus.port());
        let (port, bus) = (other.port().to_string(), bus.to_string());
        self.redis.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).map(drop)
    }

    /// Forgets a node that is gone.
    pub(super) fn forget(&self, id: &str) -> Result<(), Error> {
        if self.view().is_some_and(|view| view.knows(id)) {
            self.redis.command(&["CLUSTER", "FORGET", id])?;
        }
        Ok(())
    }

    /// The node's own view, for an error.
    pub(super) fn describe(&self) -> String {
        let nodes = self.redis.command(&["CLUSTER", "NODES"]);
        format!(
            "port {}: {}",
            self.port(),
            nodes.map_or_else(|error| error.to_string(), |view| view.join("\n"))
        )
    }
}

fn start(
    root: &Root,
    options: &ClusterOptions,
    source: Ipv4Addr,
    bus_port: u16,
    proxies: Option<&[Proxy; 2]>,
) -> Result<Redis, Error> {
    let announced = proxies.map(|[port, _]| port.port());
    let redis = Redis::start_with(
        root,
        RedisOptions {
            server: options.server,
            extra: arguments(options, bus_port, proxies),
            tls: options.tls.clone(),
            tls_ca: options.tls_ca.clone(),
            acl: options.acl.clone(),
            replica_of: None,
            announced_port: announced,
            source: Some(source),
        },
    )?;
    if let Some([port, bus]) = proxies {
        port.retarget(redis.port());
        bus.retarget(bus_port);
    }
    Ok(redis)
}

fn arguments(options: &ClusterOptions, bus_port: u16, proxies: Option<&[Proxy; 2]>) -> Vec<String> {
    let timeout = options.node_timeout.as_millis().to_string();
    let mut argv = owned(&["--cluster-enabled", "yes", "--cluster-node-timeout", &timeout]);
    argv.extend(owned(&["--cluster-port", &bus_port.to_string(), "--cluster-announce-ip", "127.0.0.1"]));
    if let Some([port, bus]) = proxies {
        let name =
            if options.tls.is_some() { "--cluster-announce-tls-port" } else { "--cluster-announce-port" };
        argv.extend(owned(&[name, &port.port().to_string()]));
        argv.extend(owned(&["--cluster-announce-bus-port", &bus.port().to_string()]));
    }
    argv.extend(options.extra.iter().cloned());
    argv
}

fn own_id(redis: &Redis) -> Result<String, Error> {
    Ok(redis.command(&["CLUSTER", "MYID"])?.concat())
}
