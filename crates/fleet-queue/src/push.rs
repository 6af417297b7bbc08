//! The API's side: appending messages.

use std::sync::Arc;

use redis::Cmd;
use redis::aio::MultiplexedConnection;

use crate::ledger::{self, Ledger};
use crate::transaction::Transaction;
use crate::{QueueError, QueueKeys, RedisLink, greeting};

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
    pub async fn push(&self, items: &[Vec<u8>]) -> Result<Ledger, QueueError> {
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

    /// Appends a batch of this queue in one transaction with the ledger, all or none, and returns the ledger behind it.
    ///
    /// One variadic RPUSH: the server logs and syncs one command, however many messages it carries.
    ///
    /// A push whose connection turns out to be broken is repeated, even where the first one may have been carried out:
    /// the same items twice are the same events, with the same ids.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. After a timeout or a broken connection the items may be in the queue all the same.
    pub async fn push_batch(&self, batch: PushBatch) -> Result<Ledger, QueueError> {
        let PushBatch { command, messages, bytes } = batch;
        let count = |field: &str, amount: usize| {
            let mut command = redis::cmd("HINCRBY");
            command.arg(&self.keys.ledger).arg(field).arg(amount);
            command
        };
        let transaction = Transaction::new([
            command,
            count("accepted_messages", messages),
            count("accepted_bytes", bytes),
            ledger::read(&self.keys),
        ]);
        let (_length, _messages, _bytes, found): (u64, u64, u64, ledger::Fields) =
            self.link.transaction(&transaction).await?;
        Ok(found.into())
    }

    /// The ledger as it is now.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; a server that has become a replica is one, as what it holds may be old.
    pub async fn ledger(&self) -> Result<Ledger, QueueError> {
        let command = &ledger::read(&self.keys);
        let run = |mut connection: MultiplexedConnection| async move {
            greeting::require_primary(&mut connection).await?;
            command.query_async::<ledger::Fields>(&mut connection).await
        };
        Ok(self.link.run(run).await?.into())
    }
}
