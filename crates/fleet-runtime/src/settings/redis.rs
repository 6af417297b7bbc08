//! From settings to the options that open Redis.

use fleet_queue::RedisLinkOptions;

use super::schema::Settings;

impl Settings {
    /// How to reach Redis.
    pub fn redis(&self) -> RedisLinkOptions {
        RedisLinkOptions::new(self.redis_url.expose(), self.queue.timeout)
            .with_ca_file(self.tls.ca_file.as_deref())
    }
}
