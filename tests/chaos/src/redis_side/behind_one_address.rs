//! A Redis failover that loses no data.

use std::thread;
use std::time::{Duration, Instant};

use fleet_testbed::Redis;

use crate::refuse::refuse;
use fleet_harness::{Failure, POLL};

/// The deadline for the replica to copy the primary's data.
const COPIED_WITHIN: Duration = Duration::from_secs(20);

/// Makes `new` a replica of `old`, waits until it is in sync, and promotes it to primary. Clients that write
/// meanwhile are blocked. When [`super::single::Single`] unblocks `old`, they get a replica's
/// response.
pub(super) fn switch(old: &Redis, new: &Redis) -> Result<(), Failure> {
    new.command(&["REPLICAOF", "127.0.0.1", &old.port().to_string()])?;
    let end = Instant::now() + COPIED_WITHIN;
    while !is_copy(new)? {
        if Instant::now() >= end {
            return Err(refuse("the Redis replica did not finish its initial copy in time"));
        }
        thread::sleep(POLL);
    }
    // Longer than the switch takes. CLIENT UNPAUSE ends it.
    old.command(&["CLIENT", "PAUSE", "5000", "WRITE"])?;
    let offset = offset(old)?;
    while self::offset(new)? < offset {
        if Instant::now() >= end {
            return Err(refuse("the Redis replica did not reach the primary's replication offset in time"));
        }
        thread::sleep(POLL);
    }
    new.command(&["REPLICAOF", "NO", "ONE"])?;
    old.command(&["REPLICAOF", "127.0.0.1", &new.port().to_string()])?;
    Ok(())
}

fn is_copy(replica: &Redis) -> Result<bool, Failure> {
    Ok(replication(replica)?.contains("master_link_status:up"))
}

/// The server's replication offset.
fn offset(server: &Redis) -> Result<u64, Failure> {
    let info = replication(server)?;
    let is_replica = info.contains("role:slave");
    let name = if is_replica { "slave_repl_offset:" } else { "master_repl_offset:" };
    let offset = info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    offset.ok_or_else(|| refuse(format!("INFO replication of Redis has no {name}")))
}

fn replication(server: &Redis) -> Result<String, Failure> {
    Ok(server.command(&["INFO", "replication"])?.concat())
}
