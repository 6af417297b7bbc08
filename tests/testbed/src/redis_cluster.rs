//! A private Redis Cluster.

mod node;
mod options;
mod view;

use std::net::Ipv4Addr;
use std::time::Duration;

pub use self::node::ClusterNode;
pub use self::options::ClusterOptions;
use self::view::View;
use crate::logins::admin_url_of;
use crate::process::holds_within;
use crate::root::Root;
use crate::{Error, Proxy};

/// The number of slots of every cluster.
const SLOTS: usize = 16_384;

/// The deadline for all nodes to have the same view.
const AGREED_WITHIN: Duration = Duration::from_secs(30);

/// A private Redis Cluster on loopback ports. Each node has the settings and users of
/// [`Redis`](crate::Redis). Dropping it stops the nodes and removes their data.
#[derive(Debug)]
pub struct RedisCluster {
    root: Root,
    options: ClusterOptions,
    nodes: Vec<ClusterNode>,
}

impl RedisCluster {
    /// Starts a private cluster. Creates the private root first if necessary.
    ///
    /// # Errors
    ///
    /// [`Error::NoRoot`] if a private root is impossible, [`Error::Start`] if a node does not become ready,
    /// [`Error::Control`] if the nodes do not form a cluster in time.
    pub fn private(options: ClusterOptions) -> Result<Self, Error> {
        Self::start(&options.server.root()?, options)
    }

    /// Like [`RedisCluster::private`], from an existing root.
    ///
    /// # Errors
    ///
    /// Same as [`RedisCluster::private`].
    pub fn start(root: &Root, options: ClusterOptions) -> Result<Self, Error> {
        let count = options.primaries + options.replicas;
        let start = |index| ClusterNode::start(root, &options, index);
        let nodes = (0..count).map(start).collect::<Result<Vec<_>, _>>()?;
        let cluster = Self { root: root.clone(), options, nodes };
        cluster.join()?;
        Ok(cluster)
    }

    /// `redis://fleet:fleet@` and the nodes' addresses, or `rediss://…` with TLS.
    /// [`RedisLogin::of`](crate::RedisLogin::of) returns it for another login.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        let ports: Vec<_> = self.nodes.iter().map(ClusterNode::port).collect();
        admin_url_of(scheme, &ports, "")
    }

    /// The nodes: at first the primaries, then their replicas in the same order.
    #[must_use]
    pub fn nodes(&self) -> &[ClusterNode] {
        &self.nodes
    }

    /// A node, for faults.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn node(&mut self, index: usize) -> &mut ClusterNode {
        &mut self.nodes[index]
    }

    /// The index of the primary of a key's slot, as most nodes see it. `None` while there is none.
    #[must_use]
    pub fn primary_of(&self, key: &str) -> Option<usize> {
        let slot = self.nodes.iter().find_map(|node| node.slot(key))?;
        let votes: Vec<_> = self.views().filter_map(|view| view.primary_of(slot)).collect();
        let most = votes.iter().max_by_key(|&id| votes.iter().filter(|&other| other == id).count())?;
        self.index_of(most)
    }

    /// The index of a replica that follows this node, as most nodes see it.
    #[must_use]
    pub fn replica_of(&self, index: usize) -> Option<usize> {
        let id = self.nodes[index].id();
        (0..self.nodes.len()).find(|&other| {
            let other = self.nodes[other].id();
            let votes = self.views().filter(|view| view.follows(other, id)).count();
            votes * 2 > self.nodes.len()
        })
    }

    /// Whether every node sees every slot served, all nodes up, and each replica in sync with its primary.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.nodes.iter().all(|node| {
            node.view().is_some_and(|view| view.is_healthy(self.nodes.len(), self.options.primaries))
                && node.is_ok()
                && (node.redis().is_primary() || node.redis().is_synced())
        })
    }

    /// Waits until [`RedisCluster::is_healthy`].
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it is not after 30 s.
    pub fn wait_healthy(&self) -> Result<(), Error> {
        self.wait("become healthy", || self.is_healthy())
    }

    /// Waits until another node than this one serves the key's slot, and returns its index.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if none does after 30 s.
    pub fn wait_failover(&self, key: &str, from: usize) -> Result<usize, Error> {
        let mut found = None;
        self.wait("fail over", || {
            found = self.primary_of(key).filter(|&index| index != from && self.nodes[index].is_ok());
            found.is_some()
        })?;
        Ok(found.unwrap_or(from))
    }

    /// Replaces a node that was destroyed or is to be destroyed by a new, empty one, which becomes a replica of
    /// the node `primary`. The others forget the old one. Does not wait until the new one is in sync.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] or [`Error::Control`] if a node does not do its part.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn replace(&mut self, index: usize, primary: usize) -> Result<(), Error> {
        self.nodes[index].redis_mut().destroy()?;
        let lost = self.nodes[index].id().to_owned();
        self.nodes[index].start_again(&self.root, &self.options)?;
        let primary_id = self.nodes[primary].id().to_owned();
        for node in self.others(index) {
            node.forget(&lost)?;
        }
        let node = &self.nodes[index];
        node.meet(&self.nodes[primary])?;
        self.wait("know the new node", || {
            node.view().is_some_and(|view| view.knows_primary(&primary_id))
                && self.others(index).all(|other| other.view().is_some_and(|view| view.knows(node.id())))
        })?;
        node.redis().command(&["CLUSTER", "REPLICATE", &primary_id]).map(drop)
    }

    /// Separates a node from all other nodes, but not from clients. Needs [`ClusterOptions::proxied`].
    pub fn isolate(&self, index: usize) {
        let node = &self.nodes[index];
        let others: Vec<Ipv4Addr> = self.others(index).map(ClusterNode::source).collect();
        node.proxies().for_each(|proxy| proxy.block(&others));
        for other in self.others(index) {
            other.proxies().for_each(|proxy| proxy.block(&[node.source()]));
        }
    }

    /// Separates a node from its replicas, but not from the other nodes or from clients. Needs
    /// [`ClusterOptions::proxied`].
    pub fn cut_off_replicas(&self, index: usize) {
        let others: Vec<Ipv4Addr> = self.others(index).map(ClusterNode::source).collect();
        // Only replicas connect to the port for clients.
        self.nodes[index].proxies().take(1).for_each(|proxy| proxy.block(&others));
    }

    /// Separates a node from all other nodes and from clients. Needs [`ClusterOptions::proxied`].
    pub fn black_hole(&self, index: usize) {
        self.isolate(index);
        self.nodes[index].proxies().for_each(Proxy::black_hole);
    }

    /// Ends [`RedisCluster::isolate`], [`RedisCluster::cut_off_replicas`] and [`RedisCluster::black_hole`].
    pub fn reunite(&self) {
        for proxy in self.nodes.iter().flat_map(ClusterNode::proxies) {
            proxy.unblock();
            proxy.heal();
        }
    }

    fn others(&self, index: usize) -> impl Iterator<Item = &ClusterNode> {
        self.nodes.iter().enumerate().filter(move |&(other, _)| other != index).map(|(_, node)| node)
    }

    fn views(&self) -> impl Iterator<Item = View> {
        self.nodes.iter().filter_map(ClusterNode::view)
    }

    fn index_of(&self, id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id() == id)
    }

    /// Makes the nodes a cluster.
    fn join(&self) -> Result<(), Error> {
        let (primaries, replicas) = self.nodes.split_at(self.options.primaries);
        for (index, node) in primaries.iter().enumerate() {
            let first = SLOTS * index / primaries.len();
            let last = SLOTS * (index + 1) / primaries.len() - 1;
            let (first, last) = (first.to_string(), last.to_string());
            node.redis().command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            // Different epochs from the start, so the nodes need not resolve a collision first.
            node.redis().command(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])?;
        }
        for node in self.nodes.iter().skip(1) {
            node.meet(&self.nodes[0])?;
        }
        let all_known = || {
            let ids: Vec<_> = self.nodes.iter().map(ClusterNode::id).collect();
            self.nodes.iter().all(|node| node.view().is_some_and(|view| ids.iter().all(|id| view.knows(id))))
        };
        self.wait("know each other", all_known)?;
        for (replica, primary) in replicas.iter().zip(primaries) {
            replica.redis().command(&["CLUSTER", "REPLICATE", primary.id()])?;
        }
        self.wait_healthy()
    }

    fn wait(&self, what: &str, condition: impl FnMut() -> bool) -> Result<(), Error> {
        if holds_within(AGREED_WITHIN, condition) {
            return Ok(());
        }
        let views = self.nodes.iter().map(ClusterNode::describe).collect::<Vec<_>>().join("\n");
        let seconds = AGREED_WITHIN.as_secs();
        let reason = format!("the nodes do not {what} after {seconds} s; they see\n{views}");
        Err(Error::Control { server: "Redis Cluster", reason })
    }
}
