//! From settings to the options that open Redis.

use fleet_queue::{Queue, QueueError, RedisLink, RedisLinkOptions, SentinelOptions, Topology};
use secrecy::SecretString;

use super::redis_settings::RedisTopology;
use super::schema::Settings;
use crate::metrics::redis_links;

impl Settings {
    /// How to reach Redis. Every link publishes its state as metrics. In a Redis Cluster, each queue needs a link of its own:
    /// see [`RedisLinkOptions::for_queue`].
    pub fn redis(&self) -> RedisLinkOptions {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let password = self.redis.sentinel_password.as_ref().map(super::secret::Password::expose);
        let sentinel = SentinelOptions {
            name: given(&self.redis.sentinel_name),
            user: given(&self.redis.sentinel_user),
            password: password.filter(|password| !password.is_empty()).map(SecretString::from),
        };
        let topology = match self.redis.topology {
            RedisTopology::Single => Topology::Single,
            RedisTopology::Sentinel => Topology::Sentinel,
            RedisTopology::Cluster => Topology::Cluster,
        };
        RedisLinkOptions::new(self.redis_url.expose(), self.queue.timeout)
            .with_ca_file(self.tls.ca_file.as_deref())
            .with_topology(topology, sentinel)
            .reporting_to(redis_links::publish)
    }

    /// A connection to the Redis that has this queue. It is made when it is first used.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if Redis' URL can never be used.
    pub fn redis_link(&self, queue: Queue) -> Result<RedisLink, QueueError> {
        let keys = queue.keys(&self.queue.prefix);
        RedisLink::open(&self.redis().for_queue(&keys))
    }
}
