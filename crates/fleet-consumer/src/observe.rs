//! Shows the state of the queues, of Redis and of the connection pools.

pub(crate) mod queues;
pub mod witness;
