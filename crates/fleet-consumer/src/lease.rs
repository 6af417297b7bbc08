//! Claims batches from Redis, and keeps, acknowledges, parks or releases them.

pub(crate) mod held_lease;
pub(crate) mod lease_log;
pub(crate) mod obtained;
pub(crate) mod parsing_mark;
pub(crate) mod poller;
pub(crate) mod redis_calls;
