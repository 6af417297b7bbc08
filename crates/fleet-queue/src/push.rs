//! The API's side: appending messages.

use std::sync::Arc;

use crate::{QueueError, QueueKeys, RedisLink};

/// Appends to one queue.
#[derive(Clone, Debug)]
pub struct Producer {
    link: Arc<RedisLink>,
    keys: QueueKeys,
}

impl Producer {
    /// A producer for `queue` under the key prefix `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: &str) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue) }
    }

    /// Appends `items` in one transaction with the ledger, all or none, and returns the bytes that are accepted but
    /// not settled, these included.
    ///
    /// One variadic RPUSH: the server logs and syncs one command, however many messages it carries.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. After a timeout or a broken connection the items may be in the queue all the same;
    /// pushing them again is harmless, as their events carry the same ids.
    pub async fn push(&self, items: &[Vec<u8>]) -> Result<u64, QueueError> {
        let bytes: usize = items.iter().map(Vec::len).sum();
        let keys = &self.keys;
        let mut transaction = redis::pipe();
        transaction.atomic();
        transaction.cmd("RPUSH").arg(&keys.queue).arg(items).ignore();
        transaction.cmd("HINCRBY").arg(&keys.ledger).arg("accepted_messages").arg(items.len()).ignore();
        transaction.cmd("HINCRBY").arg(&keys.ledger).arg("accepted_bytes").arg(bytes);
        transaction.cmd("HGET").arg(&keys.ledger).arg("settled_bytes");
        let run = async |connection: &mut _| transaction.query_async(connection).await;
        let (accepted, settled): (u64, Option<u64>) = self.link.run(run).await?;
        Ok(accepted.saturating_sub(settled.unwrap_or_default()))
    }

    /// The bytes that are accepted but not settled.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn backlog_bytes(&self) -> Result<u64, QueueError> {
        let mut command = redis::cmd("HMGET");
        command.arg(&self.keys.ledger).arg("accepted_bytes").arg("settled_bytes");
        let run = async |connection: &mut _| command.query_async(connection).await;
        let (accepted, settled): (Option<u64>, Option<u64>) = self.link.run(run).await?;
        Ok(accepted.unwrap_or_default().saturating_sub(settled.unwrap_or_default()))
    }
}
