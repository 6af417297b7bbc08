//! The API's side: appending messages.

use std::sync::Arc;

use redis::Cmd;

use crate::{QueueError, QueueKeys, RedisLink};

/// Messages that are to be appended together, each written into the command that will carry it.
#[derive(Debug)]
pub struct PushBatch {
    command: Cmd,
    messages: usize,
    bytes: usize,
}

impl PushBatch {
    /// Adds one list item.
    pub fn add(&mut self, item: &[u8]) {
        self.command.arg(item);
        self.messages += 1;
        self.bytes += item.len();
    }

    /// Messages in it.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes of its messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

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

    /// Appends `items` as [`Producer::push_batch`] does.
    ///
    /// # Errors
    ///
    /// As [`Producer::push_batch`].
    pub async fn push(&self, items: &[Vec<u8>]) -> Result<u64, QueueError> {
        let mut batch = self.batch(items.len(), items.iter().map(Vec::len).sum());
        for item in items {
            batch.add(item);
        }
        self.push_batch(batch).await
    }

    /// An empty batch, with room for so many messages and bytes before it has to grow.
    pub fn batch(&self, messages: usize, bytes: usize) -> PushBatch {
        let mut command = Cmd::with_capacity(2 + messages, 64 + bytes);
        command.arg("RPUSH").arg(&self.keys.queue);
        PushBatch { command, messages: 0, bytes: 0 }
    }

    /// Appends a batch of this queue in one transaction with the ledger, all or none, and returns the bytes that are
    /// accepted but not settled, these included.
    ///
    /// One variadic RPUSH: the server logs and syncs one command, however many messages it carries.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. After a timeout or a broken connection the items may be in the queue all the same;
    /// pushing them again is harmless, as their events carry the same ids.
    pub async fn push_batch(&self, batch: PushBatch) -> Result<u64, QueueError> {
        let PushBatch { command, messages, bytes } = batch;
        let keys = &self.keys;
        let mut transaction = redis::pipe();
        transaction.atomic();
        transaction.add_command(command).ignore();
        transaction.cmd("HINCRBY").arg(&keys.ledger).arg("accepted_messages").arg(messages).ignore();
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
