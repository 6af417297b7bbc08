//! The API's connections to Redis.

use fleet_queue::{QueueError, RedisLink};
use fleet_runtime::settings::Settings;

/// A connection, which is made when it is first used.
///
/// # Errors
///
/// [`QueueError`] if Redis' URL can never be used.
pub(crate) fn link(settings: &Settings) -> Result<RedisLink, QueueError> {
    RedisLink::open(&settings.redis())
}
