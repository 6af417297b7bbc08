//! A queue, and the connection over which its Redis is watched.

use fleet_queue::{Queue, QueueKeys, RedisLink};

/// A queue whose Redis is watched.
pub(super) struct WatchedQueue {
    pub(super) queue: Queue,
    pub(super) link: RedisLink,
    pub(super) keys: QueueKeys,
    /// The backlog caps of the queues on this Redis, as far as they are known.
    pub(super) caps_bytes: u64,
}
