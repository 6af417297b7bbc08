//! What a queue holds, for metrics, audits and people.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use redis::Script;
use uuid::Uuid;

use crate::{Envelope, QueueError, QueueKeys, RedisLink};

static HEADERS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/headers.lua")));

/// A count of messages and of their envelopes' bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Messages.
    pub messages: u64,
    /// Bytes of their envelopes.
    pub bytes: u64,
}

impl Volume {
    fn minus(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// A queue at one moment: everything was read in one transaction, but for the two times, which were read after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// Ever pushed.
    pub accepted: Volume,
    /// Ever claimed.
    pub claimed: Volume,
    /// Ever acked.
    pub settled: Volume,
    /// Messages in the list.
    pub waiting_messages: u64,
    /// Claimed batches.
    pub leases: u64,
    /// When the head of the list was received.
    pub oldest_waiting: Option<Timestamp>,
    /// When the head of the claimed batch that expires first was received.
    pub oldest_leased: Option<Timestamp>,
}

impl QueueStatus {
    /// Accepted but not settled: waiting and leased.
    pub fn backlog(&self) -> Volume {
        self.accepted.minus(self.settled)
    }

    /// Claimed but not settled.
    pub fn leased(&self) -> Volume {
        self.claimed.minus(self.settled)
    }

    /// What the ledger says is waiting is what the list holds.
    pub fn balances(&self) -> bool {
        self.accepted.messages == self.claimed.messages + self.waiting_messages
            && (self.leases == 0) == (self.leased().messages == 0)
    }
}

/// Reads one queue's [`QueueStatus`].
#[derive(Clone, Debug)]
pub struct Observer {
    link: Arc<RedisLink>,
    keys: QueueKeys,
}

type Ledger = (Option<u64>, Option<u64>, Option<u64>, Option<u64>, Option<u64>, Option<u64>);

impl Observer {
    /// An observer of `queue` under the key prefix `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: &str) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue) }
    }

    /// Reads the status.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn status(&self) -> Result<QueueStatus, QueueError> {
        let keys = &self.keys;
        let mut transaction = redis::pipe();
        transaction.atomic();
        transaction.cmd("HMGET").arg(&keys.ledger);
        transaction
            .arg("accepted_messages")
            .arg("accepted_bytes")
            .arg("claimed_messages")
            .arg("claimed_bytes");
        transaction.arg("settled_messages").arg("settled_bytes");
        transaction.cmd("LLEN").arg(&keys.queue);
        transaction.cmd("ZCARD").arg(&keys.leases);
        transaction.cmd("ZRANGE").arg(&keys.leases).arg(0).arg(0);
        let run = async |connection: &mut _| transaction.query_async(connection).await;
        let (ledger, waiting_messages, leases, first): (Ledger, u64, u64, Vec<String>) =
            self.link.run(run).await?;
        let first = first.first().and_then(|id| id.parse().ok());
        let (oldest_waiting, oldest_leased) = self.oldest(first).await?;
        let volume = |messages: Option<u64>, bytes: Option<u64>| Volume {
            messages: messages.unwrap_or_default(),
            bytes: bytes.unwrap_or_default(),
        };
        Ok(QueueStatus {
            accepted: volume(ledger.0, ledger.1),
            claimed: volume(ledger.2, ledger.3),
            settled: volume(ledger.4, ledger.5),
            waiting_messages,
            leases,
            oldest_waiting,
            oldest_leased,
        })
    }

    /// When the heads of the queue and of `lease` were received. Reads their header lines alone: bodies are large.
    async fn oldest(
        &self,
        lease: Option<Uuid>,
    ) -> Result<(Option<Timestamp>, Option<Timestamp>), QueueError> {
        let mut call = HEADERS.prepare_invoke();
        call.key(&self.keys.queue);
        if let Some(id) = lease {
            call.key(self.keys.lease(id));
        }
        let run = async |connection: &mut _| call.invoke_async(connection).await;
        let headers: Vec<Option<Vec<u8>>> = self.link.run(run).await?;
        let mut times = headers.iter().map(|header| received_at(header.as_deref()?));
        Ok((times.next().flatten(), times.next().flatten()))
    }
}

fn received_at(header: &[u8]) -> Option<Timestamp> {
    Envelope::decode(header).ok().map(|envelope| envelope.received_at)
}

/// What of Redis' configuration keeps an accepted message safe; absent where the user may not read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// `appendonly`: `yes` keeps messages across a restart.
    pub appendonly: Option<String>,
    /// `appendfsync`: `always` keeps messages across a power failure.
    pub appendfsync: Option<String>,
    /// `maxmemory`, bytes; 0 for no limit.
    pub maxmemory_bytes: Option<u64>,
    /// `maxmemory-policy`: `noeviction` refuses messages instead of dropping accepted ones.
    pub maxmemory_policy: Option<String>,
}

impl Durability {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`], such as a managed service that does not show its configuration.
    pub async fn read(link: &RedisLink) -> Result<Self, QueueError> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("appendonly").arg("appendfsync").arg("maxmemory-policy").arg("maxmemory");
        let run = async |connection: &mut _| command.query_async(connection).await;
        let mut found: HashMap<String, String> = link.run(run).await?;
        Ok(Self {
            appendonly: found.remove("appendonly"),
            appendfsync: found.remove("appendfsync"),
            maxmemory_bytes: found.remove("maxmemory").and_then(|bytes| bytes.parse().ok()),
            maxmemory_policy: found.remove("maxmemory-policy"),
        })
    }

    /// What is weaker than it should be, each with what to do; empty if nothing is.
    pub fn weaknesses(&self) -> Vec<String> {
        let wanted = [
            ("appendonly", &self.appendonly, "yes"),
            ("appendfsync", &self.appendfsync, "always"),
            ("maxmemory-policy", &self.maxmemory_policy, "noeviction"),
        ];
        let weak = wanted
            .into_iter()
            .filter(|(_name, found, wanted)| found.as_deref().is_some_and(|found| found != *wanted));
        weak.map(|(name, found, wanted)| {
            format!("{name} is {}; set it to {wanted}", found.as_deref().unwrap_or_default())
        })
        .collect()
    }
}

/// How full Redis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisMemory {
    /// `used_memory`.
    pub used_bytes: u64,
    /// `maxmemory`; 0 is no limit.
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
        let run = async |connection: &mut _| command.query_async(connection).await;
        let text: String = link.run(run).await?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let value = value.and_then(|value| value.trim().parse().ok());
            value.ok_or_else(|| QueueError::Reply(format!("INFO memory has no {name}")))
        };
        Ok(Self { used_bytes: field("used_memory")?, max_bytes: field("maxmemory")? })
    }
}
