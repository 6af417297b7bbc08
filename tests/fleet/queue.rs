//! The queue protocol on the real Redis.
