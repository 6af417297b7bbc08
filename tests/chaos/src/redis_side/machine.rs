//! A Redis server that can be lost, behind an address that stays.

use std::net::Ipv4Addr;

use fleet_testbed::{Proxy, Redis, RedisOptions, Root, redis_users};

use fleet_harness::Failure;

/// A server behind a proxy, whose port the server announces. Programs, Sentinels and the other server use it.
pub(super) struct Machine {
    pub(super) redis: Redis,
    pub(super) way: Proxy,
    /// The address from which the server connects to the other one.
    pub(super) source: Ipv4Addr,
}

impl Machine {
    /// Starts a server, which is a replica if `replica_of` is the port of a primary.
    pub(super) fn start(root: &Root, source: Ipv4Addr, replica_of: Option<u16>) -> Result<Self, Failure> {
        let way = Proxy::start(0)?;
        let redis = server(root, source, &way, replica_of)?;
        Ok(Self { redis, way, source })
    }

    /// Starts an empty server at the address of the lost one, as a replica from its start: an empty primary at
    /// this address would have its former replica copy it.
    pub(super) fn replace(&mut self, root: &Root, replica_of: u16) -> Result<(), Failure> {
        self.redis = server(root, self.source, &self.way, Some(replica_of))?;
        Ok(())
    }

    /// The address, as a URL of the administrator.
    pub(super) fn url(&self) -> String {
        format!("redis://fleet:fleet@127.0.0.1:{}", self.way.port())
    }
}

fn server(root: &Root, source: Ipv4Addr, way: &Proxy, replica_of: Option<u16>) -> Result<Redis, Failure> {
    let redis = Redis::start_with(
        root,
        RedisOptions {
            acl: Some(redis_users().to_owned()),
            announced_port: Some(way.port()),
            source: Some(source),
            replica_of,
            ..RedisOptions::default()
        },
    )?;
    way.retarget(redis.port());
    Ok(redis)
}
