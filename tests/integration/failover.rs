//! The programs follow the primary of Redis, without a restart.

mod cluster;
mod rig;
mod sentinels;
mod settings;
mod several_hosts;
mod shards;
mod tls;
