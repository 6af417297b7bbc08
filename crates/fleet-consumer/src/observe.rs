//! Shows the state of the queues, of Redis and of the connection pools.

pub(crate) mod database;
pub(crate) mod durability;
pub(crate) mod pools;
pub(crate) mod queues;
pub(crate) mod witness;
