//! The API's connections to Redis.

use fleet_queue::{QueueError, RedisLink};
use fleet_runtime::settings::Settings;

/// A connection, which is made when it is first used.
///
/// # Errors
///
/// [`QueueError`] if Redis' URL can never be used.
pub(crate) fn link(settings: &Settings) -> Result<RedisLink, QueueError> {
    let ca_file = settings.tls.ca_file.as_deref();
    RedisLink::trusting(ca_file, settings.redis_url.expose(), settings.queue.timeout)
}
