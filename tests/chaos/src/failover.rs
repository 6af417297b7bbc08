//! A failover of Redis that loses nothing.

use std::thread;
use std::time::{Duration, Instant};

use fleet_testbed::Redis;

use super::ask;
use crate::refuse::refuse;
use fleet_harness::{Failure, POLL};

/// How long a replica may take to copy everything.
const COPIED_WITHIN: Duration = Duration::from_secs(20);

/// The administrator, whom both servers know, is also who a replica logs in as.
const LOGIN: &str = "masteruser fleet masterauth fleet repl-diskless-sync-delay 0";

/// Makes `new` a copy of `old`, and its primary once it has everything. Whoever writes meanwhile waits, and is answered by a
/// replica when [`super::stage::Stage::fail_over`] lets `old` go on.
pub(super) fn switch(old: &Redis, new: &Redis) -> Result<(), Failure> {
    for server in [old, new] {
        ask::server(server, &format!("CONFIG SET {LOGIN}"))?;
    }
    ask::server(new, &format!("REPLICAOF 127.0.0.1 {}", old.port()))?;
    let end = Instant::now() + COPIED_WITHIN;
    while !is_copy(new)? {
        if Instant::now() >= end {
            return Err(refuse("the replica of Redis does not catch up"));
        }
        thread::sleep(POLL);
    }
    // More than the switch takes. It ends with CLIENT UNPAUSE.
    ask::server(old, "CLIENT PAUSE 5000 WRITE")?;
    let offset = offset(old)?;
    while self::offset(new)? < offset {
        if Instant::now() >= end {
            return Err(refuse("the replica of Redis does not have everything"));
        }
        thread::sleep(POLL);
    }
    ask::server(new, "REPLICAOF NO ONE")?;
    ask::server(old, &format!("REPLICAOF 127.0.0.1 {}", new.port()))?;
    Ok(())
}

fn is_copy(replica: &Redis) -> Result<bool, Failure> {
    Ok(replication(replica)?.contains("master_link_status:up"))
}

/// How far a server's history reaches.
fn offset(server: &Redis) -> Result<u64, Failure> {
    let info = replication(server)?;
    let is_replica = info.contains("role:slave");
    let name = if is_replica { "slave_repl_offset:" } else { "master_repl_offset:" };
    let offset = info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    offset.ok_or_else(|| refuse(format!("Redis does not tell its {name}")))
}

fn replication(server: &Redis) -> Result<String, Failure> {
    Ok(ask::server(server, "INFO replication")?.concat())
}
