//! The settings of Redis that keep accepted messages safe, and its memory.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, Value};
use uuid::Uuid;

use crate::error::QueueError;
use crate::keys::QueueKeys;
use crate::link::RedisLink;
use crate::replica_settings::{ReplicaDurability, ReplicaSettings};
use crate::replication::{Replica, Replication};

/// Most replicas whose settings are read.
const MAX_REPLICAS: usize = 8;

/// Most time for the settings of one replica.
const PATIENCE: Duration = Duration::from_secs(1);

/// The settings that keep an accepted message safe in Redis. One that the user may not read is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    /// `appendonly`: `yes` keeps messages across a restart.
    pub appendonly: Option<String>,
    /// `appendfsync`: `always` keeps messages across a power failure.
    pub appendfsync: Option<String>,
    /// `maxmemory`, bytes; 0 for no limit.
    pub maxmemory_bytes: Option<u64>,
    /// `maxmemory-policy`: `noeviction` refuses messages instead of dropping accepted ones.
    pub maxmemory_policy: Option<String>,
    /// Whether the user `default` has the permissions for the writes of our transactions. When Redis 8.0 loads its append-only
    /// file, it checks every transaction against that user, even if the user is off, and drops those that it may not run:
    /// <https://github.com/redis/redis/issues/14541>.
    pub default_user_may_write: Option<bool>,
    /// The settings of the replicas that must confirm pushes.
    pub replicas: ReplicaDurability,
}

impl Durability {
    /// Reads what the link's user may read. If `replicas` must confirm pushes, reads their settings, too.
    ///
    /// # Errors
    ///
    /// A [`QueueError`] that is not about permissions, such as a timeout. Replicas that cannot be reached are no error.
    pub async fn read(link: &RedisLink, keys: &QueueKeys, replicas: u32) -> Result<Self, QueueError> {
        let mut found: HashMap<String, String> = settings(link).await?;
        let appendfsync = found.remove("appendfsync");
        let replicas = match (replicas, &appendfsync) {
            (0, _) => ReplicaDurability::NotAsked,
            // Replicas have the users of their primary.
            (_, None) => ReplicaDurability::Unseen,
            (_, Some(_)) => replica_durability(link).await?,
        };
        Ok(Self {
            appendonly: found.remove("appendonly"),
            appendfsync,
            replicas,
            maxmemory_bytes: found.remove("maxmemory").and_then(|bytes| bytes.parse().ok()),
            maxmemory_policy: found.remove("maxmemory-policy"),
            default_user_may_write: default_user_may_write(link, keys).await?,
        })
    }

    /// The settings that are weaker than they must be, each with what to do; may be empty.
    pub fn weaknesses(&self) -> Vec<String> {
        let wanted = [
            ("appendonly", &self.appendonly, "yes"),
            ("appendfsync", &self.appendfsync, "always"),
            ("maxmemory-policy", &self.maxmemory_policy, "noeviction"),
        ];
        let weak = wanted
            .into_iter()
            .filter(|(_name, found, wanted)| found.as_deref().is_some_and(|found| found != *wanted));
        let settings = weak.map(|(name, found, wanted)| {
            format!("{name} is {}; set it to {wanted}", found.as_deref().unwrap_or_default())
        });
        let default_user = (self.default_user_may_write == Some(false)).then(|| {
            "the user `default` has no right to write the queues, so that a restart of Redis may drop every accepted \
             message; run ACL SETUSER default off resetpass ~* &* +@all before anything restarts Redis, and put the same \
             into its ACL file"
                .to_owned()
        });
        settings.chain(default_user).chain(self.replicas.weaknesses()).collect()
    }

    /// The settings that the user may not read and that an operator must check; may be empty.
    pub fn unseen(&self) -> Vec<String> {
        let unseen = [
            (self.appendonly.is_none(), "appendonly yes"),
            (self.appendfsync.is_none(), "appendfsync always"),
            (self.maxmemory_policy.is_none(), "maxmemory-policy noeviction"),
            (
                self.default_user_may_write.is_none(),
                "a user `default` that may write the queues (off resetpass ~* &* +@all)",
            ),
        ];
        let unseen = unseen.into_iter().filter(|(unseen, _what)| *unseen).map(|(_, what)| what.to_owned());
        unseen.chain(self.replicas.unseen()).collect()
    }
}

/// The settings; empty if the user may not read them, or if a managed service does not show them.
async fn settings(link: &RedisLink) -> Result<HashMap<String, String>, QueueError> {
    link.run(settings_on).await
}

async fn settings_on(mut connection: MultiplexedConnection) -> RedisResult<HashMap<String, String>> {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("appendonly").arg("appendfsync").arg("maxmemory-policy").arg("maxmemory");
    unless_refused(command.query_async(&mut connection).await)
}

/// The settings of the replicas that are connected to the link's server.
async fn replica_durability(link: &RedisLink) -> Result<ReplicaDurability, QueueError> {
    let Some(replication) = Replication::read(link).await? else { return Ok(ReplicaDurability::Unseen) };
    let mut seen = Vec::new();
    for replica in replication.replicas.iter().take(MAX_REPLICAS) {
        seen.push(replica_settings(link, replica).await);
    }
    let further = replication.replicas.len().saturating_sub(MAX_REPLICAS);
    if further > 0 {
        let address = format!("at {further} further addresses");
        seen.push(ReplicaSettings { address, ..ReplicaSettings::default() });
    }
    Ok(ReplicaDurability::Seen(seen))
}

async fn replica_settings(link: &RedisLink, replica: &Replica) -> ReplicaSettings {
    let found = async {
        let connection = link.dial(&replica.host, replica.port).await?;
        settings_on(connection).await.map_err(QueueError::from)
    };
    let mut found = match tokio::time::timeout(PATIENCE, found).await {
        Ok(Ok(found)) => found,
        // For example an address in another network. The caller reports the settings as unseen.
        Ok(Err(_)) | Err(_) => HashMap::new(),
    };
    ReplicaSettings {
        address: format!("{}:{}", replica.host, replica.port),
        appendonly: found.remove("appendonly"),
        appendfsync: found.remove("appendfsync"),
    }
}

/// Whether ACL DRYRUN allows the user `default` every write of our transactions and scripts. `None` if our user may not run
/// it, or if the server has no such command.
async fn default_user_may_write(link: &RedisLink, keys: &QueueKeys) -> Result<Option<bool>, QueueError> {
    let writes = writes(keys);
    let writes = &writes;
    let run = |mut connection: MultiplexedConnection| async move {
        let mut allowed = Some(true);
        for write in writes {
            // OK is a status reply, a denial is a string.
            match unless_refused(write.query_async::<Option<Value>>(&mut connection).await)? {
                Some(Value::Okay) => {}
                Some(_denial) => return Ok(Some(false)),
                None => allowed = None,
            }
        }
        Ok(allowed)
    };
    link.run(run).await
}

/// Every kind of write that a transaction or a script adds to the append-only file.
fn writes(keys: &QueueKeys) -> Vec<Cmd> {
    let QueueKeys { queue, leases, owners, ledger, parked, .. } = keys;
    let lease = &keys.lease(Uuid::nil());
    let writes: [&[&str]; 10] = [
        &["RPUSH", queue, "x"],
        &["HINCRBY", ledger, "accepted_messages", "1"],
        &["LMOVE", queue, lease, "LEFT", "RIGHT"],
        &["SORT", queue, "BY", "nosort", "STORE", lease],
        &["LTRIM", queue, "1", "-1"],
        &["ZADD", leases, "1", "x"],
        &["ZREM", parked, "x"],
        &["HSET", owners, "x", "x"],
        &["HDEL", owners, "x"],
        &["UNLINK", lease],
    ];
    let dry = writes.iter().map(|words| {
        let mut command = redis::cmd("ACL");
        command.arg("DRYRUN").arg("default").arg(*words);
        command
    });
    dry.collect()
}

/// The default value if the server refuses the command. A broken connection is an error.
fn unless_refused<T: Default>(result: RedisResult<T>) -> RedisResult<T> {
    match result {
        Err(error) if error.clone().into_server_errors().is_some() => Ok(T::default()),
        result => result,
    }
}

/// The memory of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisMemory {
    /// `used_memory`.
    pub used_bytes: u64,
    /// `maxmemory`; 0 means no limit.
    pub max_bytes: u64,
}

impl RedisMemory {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`], such as a user that may not run INFO.
    pub async fn read(link: &RedisLink) -> Result<Self, QueueError> {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let text: String = link.command(&command).await?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let value = value.and_then(|value| value.trim().parse().ok());
            value.ok_or_else(|| QueueError::Reply(format!("INFO memory has no {name}")))
        };
        Ok(Self { used_bytes: field("used_memory")?, max_bytes: field("maxmemory")? })
    }
}
