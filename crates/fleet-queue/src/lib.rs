//! The queue between the API and the consumers: Redis lists with leases and a ledger.
//!
//! This is the only code that talks to Redis (7.0 or newer). Each queue (`{q}`, a provider's slug or
//! a shard of it, see [`Queue`]) has these keys:
//!
//! | key | type | content |
//! |---|---|---|
//! | `fleet:{q}:queue` | list | envelopes; RPUSH at the tail, claimed from the head |
//! | `fleet:{q}:lease:<id>` | list | one claimed batch, immutable |
//! | `fleet:{q}:leases` | zset | lease id by expiry, ms of Redis' clock |
//! | `fleet:{q}:parked` | zset | id of a parked batch by the time when it is due, ms of Redis' clock |
//! | `fleet:{q}:owners` | hash | lease id to `token takeovers bytes mark` |
//! | `fleet:{q}:ledger` | hash | accepted, claimed, settled: messages and bytes of each; counters only grow |
//!
//! Invariants, each of which one transaction or script keeps:
//!
//! - A message is in the list or in exactly one lease until it is settled.
//! - accepted - claimed = waiting.
//! - claimed - settled = leased. The bytes of a large claim are counted when it is acknowledged or taken over.
//!
//! Every script that writes runs with `allow-oom`. Without it, Redis would refuse LMOVE, SORT and ZADD at `maxmemory`, and a full
//! queue could never drain. The push does not run with it.

mod backlog_cap;
mod broken;
mod claim_confirmer;
mod confirm;
mod confirmation;
mod confirmer;
mod consume;
mod dial;
mod durability;
mod envelope;
mod error;
mod error_kind;
mod find;
mod gather;
mod greeting;
mod history;
mod hosts;
mod keys;
mod lease;
mod ledger;
mod link;
mod locate;
mod lookout;
mod obstacle;
mod options;
mod push;
mod queue;
mod replica_settings;
mod replication;
mod report;
mod shard_choice;
mod shard_health;
mod status;
mod topology;
mod transaction;

pub use backlog_cap::{BacklogCap, CapChange};
pub use broken::BrokenKey;
pub use confirmation::Confirmation;
pub use confirmer::Unconfirmed;
pub use consume::{Consumer, Due};
pub use durability::{Durability, RedisMemory};
pub use envelope::{Envelope, EnvelopeError, TRUNCATED};
pub use error::QueueError;
pub use find::{ClaimedBatch, Finder, Place, Search};
pub use history::{Counted, HistoryLoss, Look, PushHistory, Witness};
pub use keys::QueueKeys;
pub use lease::{ClaimLimits, Lease, Mark};
pub use ledger::{Ledger, Volume};
pub use link::RedisLink;
pub use lookout::Lookout;
pub use obstacle::Obstacle;
pub use options::{RedisLinkOptions, SentinelOptions};
pub use push::{Producer, PushBatch, Pushed};
pub use queue::{MAX_SHARDS, Queue};
pub use replica_settings::{ReplicaDurability, ReplicaSettings};
pub use replication::{Replica, Replication};
pub use report::{Departure, Event, LinkState, Report};
pub use shard_choice::{ShardState, choose_shard};
pub use shard_health::{ShardHealth, ShardHealthRecord};
pub use status::{Held, Observer, QueueStatus};
pub use topology::Topology;
