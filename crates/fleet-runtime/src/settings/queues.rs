//! From settings to the queues.

use fleet_providers::PROVIDERS;
use fleet_queue::Queue;

use super::redis_settings::RedisTopology;
use super::schema::Settings;

impl Settings {
    /// How many shards the provider with this slug has.
    pub fn shards(&self, provider: &str) -> u8 {
        self.providers.get(provider).map_or(1, |given| given.shards)
    }

    /// Whether all queues are on one server. In a Redis Cluster they are not.
    pub fn queues_share_a_server(&self) -> bool {
        self.redis.topology != RedisTopology::Cluster
    }

    /// The queues of the provider with this slug.
    pub fn queues_of(&self, provider: &'static str) -> impl Iterator<Item = Queue> + Clone {
        Queue::all(provider, self.shards(provider))
    }

    /// The queues of every provider, also of those that the API does not serve.
    pub fn queues(&self) -> impl Iterator<Item = Queue> {
        PROVIDERS.iter().flat_map(|provider| self.queues_of(provider.slug))
    }
}
