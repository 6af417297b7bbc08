//! The API's connections to Redis.

use fleet_queue::{Queue, QueueError, RedisLink};
use fleet_runtime::settings::Settings;

/// A connection to the Redis that has this queue. It is made when it is first used.
///
/// # Errors
///
/// [`QueueError`] if Redis' URL can never be used.
pub(crate) fn link(settings: &Settings, queue: Queue) -> Result<RedisLink, QueueError> {
    let keys = queue.keys(&settings.queue.prefix);
    RedisLink::open(&settings.redis().for_queue(&keys))
}
