//! A Redis Cluster of three primaries and three replicas.

use std::time::Duration;

use fleet_testbed::{ClusterNode, ClusterOptions, Proxy, Redis, RedisCluster, Root, redis_users};

use super::planned::Planned;
use super::{PROVIDERS, RedisSide, key, set_full};
use crate::refuse::refuse;
use fleet_harness::Failure;

/// After this time without a response the nodes start a failover.
const NODE_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of queues of each provider.
const SHARDS: usize = 2;

/// The nodes.
pub(crate) struct Cluster {
    cluster: RedisCluster,
    /// The node that a fault hits until it ends, and a key of a queue whose primary it was, or follows.
    hit: (usize, String),
    /// Whether the node that was hit is lost and is to be replaced.
    is_lost: bool,
    planned: Option<Planned>,
}

impl Cluster {
    /// Starts the cluster.
    pub(crate) fn start(root: &Root) -> Result<Self, Failure> {
        let options = ClusterOptions {
            node_timeout: NODE_TIMEOUT,
            acl: Some(redis_users().to_owned()),
            proxied: true,
            ..ClusterOptions::default()
        };
        Ok(Self {
            cluster: RedisCluster::start(root, options)?,
            hit: (0, String::new()),
            is_lost: false,
            planned: None,
        })
    }

    fn primary_of(&self, key: &str) -> Result<usize, Failure> {
        let found = self.cluster.primary_of(key);
        found.ok_or_else(|| refuse(format!("the cluster has no primary for {key}")))
    }

    /// Notes the primary of a queue, which a fault is about to hit.
    fn hit(&mut self, turn: usize) -> Result<&mut ClusterNode, Failure> {
        let queues = self.queues();
        let key = key(&queues[turn % queues.len()], "queue");
        let index = self.primary_of(&key)?;
        self.hit = (index, key);
        Ok(self.cluster.node(index))
    }

    /// Notes the replica of a queue's primary.
    fn hit_replica(&mut self, turn: usize) -> Result<&mut ClusterNode, Failure> {
        self.hit(turn)?;
        let replica = self.cluster.replica_of(self.hit.0);
        self.hit.0 = replica.ok_or_else(|| refuse("a primary of the cluster has no replica"))?;
        Ok(self.cluster.node(self.hit.0))
    }
}

impl RedisSide for Cluster {
    fn url(&self) -> String {
        self.cluster.url()
    }

    fn settings(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("FLEET_REDIS__TOPOLOGY", "cluster"),
            ("FLEET_QUEUE__REPLICAS", "1"),
            ("FLEET_PROVIDERS__NIU__SHARDS", "2"),
            ("FLEET_PROVIDERS__SEGWAY__SHARDS", "2"),
            ("FLEET_PROVIDERS__INVERS__SHARDS", "2"),
        ]
    }

    fn server_urls(&self) -> Vec<String> {
        let urls = self.cluster.nodes().iter();
        urls.map(|node| format!("redis://fleet:fleet@127.0.0.1:{}", node.port())).collect()
    }

    fn queues(&self) -> Vec<String> {
        let shards = (0..SHARDS).flat_map(|shard| PROVIDERS.map(|provider| format!("{provider}.{shard}")));
        shards.collect()
    }

    fn servers(&self) -> Vec<&Redis> {
        self.cluster.nodes().iter().map(ClusterNode::redis).collect()
    }

    fn primary(&self, queue: &str) -> Result<&Redis, Failure> {
        Ok(self.cluster.nodes()[self.primary_of(&key(queue, "queue"))?].redis())
    }

    fn kill(&mut self, turn: usize) -> Result<(), Failure> {
        let redis = self.hit(turn)?.redis_mut();
        redis.kill()?;
        Ok(redis.restart()?)
    }

    fn freeze(&mut self, turn: usize) -> Result<(), Failure> {
        Ok(self.hit(turn)?.redis_mut().pause()?)
    }

    fn thaw(&mut self) -> Result<(), Failure> {
        Ok(self.cluster.node(self.hit.0).redis_mut().resume()?)
    }

    fn fill(&mut self, turn: usize) -> Result<(), Failure> {
        set_full(self.hit(turn)?.redis(), true)
    }

    fn fail_over(&mut self, turn: usize) -> Result<(), Failure> {
        self.hit(turn)?;
        self.planned = Some(Planned::from(self.hit.0));
        self.hit_replica(turn)?.redis().command(&["CLUSTER", "FAILOVER"])?;
        Ok(())
    }

    fn cut(&self) {
        self.cluster.nodes().iter().filter_map(ClusterNode::proxy).for_each(Proxy::cut);
    }

    fn black_hole(&mut self, turn: usize) -> Result<(), Failure> {
        self.hit(turn)?;
        self.cluster.black_hole(self.hit.0);
        Ok(())
    }

    fn heal(&mut self) {
        self.cluster.reunite();
    }

    fn lose_primary(&mut self, turn: usize) -> Result<(), Failure> {
        self.hit(turn)?.redis_mut().destroy()?;
        self.is_lost = true;
        Ok(())
    }

    fn cut_off_replica(&mut self, turn: usize) -> Result<(), Failure> {
        self.hit(turn)?;
        self.cluster.cut_off_replicas(self.hit.0);
        Ok(())
    }

    fn lose_cut_off_primary(&mut self) -> Result<(), Failure> {
        let node = self.cluster.node(self.hit.0);
        node.redis_mut().destroy()?;
        if let Some(way) = node.proxy() {
            way.cut();
        }
        self.cluster.reunite();
        self.is_lost = true;
        Ok(())
    }

    fn isolate(&mut self, turn: usize) -> Result<(), Failure> {
        self.hit(turn)?;
        self.cluster.isolate(self.hit.0);
        Ok(())
    }

    fn reunite(&mut self) -> Result<(), Failure> {
        self.cluster.reunite();
        Ok(())
    }

    fn lose_replica(&mut self, turn: usize) -> Result<(), Failure> {
        Ok(self.hit_replica(turn)?.redis_mut().destroy()?)
    }

    fn replace_replica(&mut self) -> Result<(), Failure> {
        self.is_lost = true;
        Ok(())
    }

    fn recover(&mut self) -> Result<bool, Failure> {
        if self.is_lost {
            let (lost, key) = &self.hit;
            let promoted = self.cluster.primary_of(key).filter(|index| index != lost);
            let Some(primary) = promoted.filter(|&index| self.cluster.nodes()[index].redis().is_primary())
            else {
                return Ok(false);
            };
            let lost = *lost;
            self.cluster.replace(lost, primary)?;
            self.is_lost = false;
        }
        let primary = self.cluster.primary_of(&self.hit.1);
        Ok(self.cluster.is_healthy() && Planned::is_over(&mut self.planned, primary))
    }
}
