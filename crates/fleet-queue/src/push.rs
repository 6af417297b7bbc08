//! The API's operation: pushing messages.

use std::fmt::Display;
use std::sync::Arc;

use fleet_failpoints::Failpoint;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};

use crate::confirmation::Confirmation;
use crate::confirmer::{Confirmer, Unconfirmed};
use crate::error::QueueError;
use crate::greeting;
use crate::keys::QueueKeys;
use crate::ledger::{self, Ledger, Volume};
use crate::link::{Line, RedisLink};
use crate::transaction::Transaction;

/// Messages to push together. Each is written directly into the command that carries it.
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

    /// How many messages it has.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes of its messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The result of a push.
#[derive(Debug)]
pub struct Pushed {
    /// Messages in the list after the push, without those in leases.
    pub waiting_messages: u64,
    /// The ledger after the push, or why the push could not be counted in it. The messages are in the queue in both cases.
    pub ledger: Result<Ledger, QueueError>,
    /// Present if fewer replicas than wanted have confirmed the push. Do not push again, because the messages are in the queue:
    /// ask with [`Producer::confirm`].
    pub unconfirmed: Option<Unconfirmed>,
}

/// What an attempt to push has led to.
enum Attempt {
    /// Too few replicas confirm writes on this new connection. Nothing was pushed.
    Withheld(Confirmation, Line),
    /// The replies of the transaction; the line if too few replicas have confirmed it.
    Pushed(Box<[Value; 4]>, Option<Line>),
}

/// Pushes to one queue.
#[derive(Clone, Debug)]
pub struct Producer {
    pub(crate) link: Arc<RedisLink>,
    pub(crate) keys: QueueKeys,
    /// Absent if pushes wait for no replica.
    confirmer: Option<Arc<Confirmer>>,
}

impl Producer {
    /// A producer for `queue` under the key prefix `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: impl Display) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue), confirmer: None }
    }

    /// Lets each push wait until the primary and this many replicas have it on disk. 0 waits for none.
    ///
    /// The link should have no other users: WAIT blocks its connection.
    #[must_use]
    pub fn confirmed_by(self, replicas: u32) -> Self {
        let confirmer = Confirmer::for_link(&self.link, replicas);
        Self { confirmer, ..self }
    }

    /// Pushes `items` as [`Producer::push_batch`] does.
    ///
    /// # Errors
    ///
    /// As [`Producer::push_batch`].
    pub async fn push(&self, items: &[Vec<u8>]) -> Result<Pushed, QueueError> {
        let mut batch = self.batch(items.len(), items.iter().map(Vec::len).sum());
        for item in items {
            batch.add(item);
        }
        self.push_batch(batch).await
    }

    /// An empty batch, with capacity for so many messages and bytes.
    pub fn batch(&self, messages: usize, bytes: usize) -> PushBatch {
        let mut command = Cmd::with_capacity(2 + messages, 64 + bytes);
        command.arg("RPUSH").arg(&self.keys.queue);
        PushBatch { command, messages: 0, bytes: 0 }
    }

    /// Pushes a batch and counts it in the ledger, in one transaction.
    ///
    /// All messages are in one RPUSH, so that the server logs and syncs one command.
    ///
    /// A push on a broken connection is retried even if Redis may have run it: the same items twice are the same events, with
    /// the same ids.
    ///
    /// With [`Producer::confirmed_by`], WAIT and WAITAOF follow the transaction in the same pipeline. On a connection that is new
    /// to this producer, replicas must first confirm a write that changes nothing. So while no replica confirms anything, each
    /// connection adds at most one copy of a batch.
    ///
    /// A transaction continues after a command that fails. If RPUSH fails because of the key's type, the items are counted as
    /// claimed and settled: then the ledger still matches the queue, and no counter decreases.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. After a timeout or a broken connection the items may be in the queue. It is no error if the items are
    /// in the queue and the ledger is unusable or replicas have not confirmed them: see [`Pushed`].
    pub async fn push_batch(&self, batch: PushBatch) -> Result<Pushed, QueueError> {
        let PushBatch { command, messages, bytes } = batch;
        let volume = Volume { messages: wide(messages), bytes: wide(bytes) };
        let [messages, bytes] = self.count("accepted", volume);
        let push = &self.transaction([command, messages, bytes, ledger::read(&self.keys)]);
        let run = |line: Line| async move {
            if let Some(confirmer) = self.confirmer().filter(|confirmer| !confirmer.is_proven(&line)) {
                let found = confirmer.prove(&line, &self.keys).await?;
                if !found.is_complete() {
                    return Ok(Attempt::Withheld(found, line));
                }
            }
            let mut connection = line.connection.clone();
            let (mut replies, mut confirmed) = push.all_replies(&mut connection).await?;
            if confirmed.is_empty() {
                confirmed = replies.split_off(replies.len().min(4));
            }
            let Ok(replies) = Box::<[Value; 4]>::try_from(replies) else {
                return Err((ErrorKind::UnexpectedReturnType, "EXEC has not four replies").into());
            };
            if let [Value::ServerError(refused), counted @ ..] = &*replies {
                if !counted.iter().any(is_error) {
                    drop(self.settle_refused(volume, &mut connection).await);
                }
                return Err(RedisError::from(refused.clone()));
            }
            Ok(Attempt::Pushed(replies, self.unless_confirmed(confirmed, line)))
        };
        match self.link.run_on_line(run).await.map_err(|error| error.on(&self.keys.queue, "list"))? {
            Attempt::Withheld(found, line) => {
                self.link.leave(line.generation).await;
                Err(QueueError::Unconfirmed(found))
            }
            Attempt::Pushed(replies, line) => self.pushed(*replies, line.map(|line| Unconfirmed { line })),
        }
    }

    /// The push's transaction, and behind it the wait for replicas.
    fn transaction(&self, commands: [Cmd; 4]) -> Transaction {
        match self.confirmer() {
            None => Transaction::new(commands),
            Some(confirmer) if Failpoint::WaitInsideMulti.is_active() => {
                Transaction::new(commands.into_iter().chain(confirmer.commands()))
            }
            Some(confirmer) => Transaction::new(commands).followed_by(confirmer.commands()),
        }
    }

    pub(crate) fn confirmer(&self) -> Option<&Confirmer> {
        self.confirmer.as_deref().filter(|_confirmer| !Failpoint::PushWithoutReplicas.is_active())
    }

    /// The line, if the replies to WAIT and WAITAOF do not confirm the push. An error is reported when they are sent again.
    fn unless_confirmed(&self, replies: Vec<Value>, line: Line) -> Option<Line> {
        let found = self.confirmer()?.parse(replies);
        found.map_or(true, |found| !found.is_complete()).then_some(line)
    }

    fn pushed(
        &self,
        [length, messages, bytes, counters]: [Value; 4],
        unconfirmed: Option<Unconfirmed>,
    ) -> Result<Pushed, QueueError> {
        let waiting_messages = redis::from_redis_value(length).map_err(RedisError::from)?;
        // An error in the counters' values explains more than an error of HINCRBY.
        let ledger = ledger::parse(&self.keys, counters).and_then(|ledger| {
            for counted in [messages, bytes] {
                if let Value::ServerError(error) = counted {
                    return Err(self.uncounted(error.into()));
                }
            }
            Ok(ledger)
        });
        Ok(Pushed { waiting_messages, ledger, unconfirmed })
    }

    /// Why HINCRBY failed. An error without a code of its own is about the counter's value.
    fn uncounted(&self, error: RedisError) -> QueueError {
        if error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError) {
            return ledger::corrupt(
                &self.keys,
                "a counter is no whole number, or so large that it cannot grow",
            );
        }
        QueueError::from(error).on(&self.keys.ledger, "hash")
    }

    /// The commands that increase the ledger's two fields of this name.
    fn count(&self, name: &str, Volume { messages, bytes }: Volume) -> [Cmd; 2] {
        [("messages", messages), ("bytes", bytes)].map(|(unit, amount)| {
            let mut command = redis::cmd("HINCRBY");
            command.arg(&self.keys.ledger).arg(format!("{name}_{unit}")).arg(amount);
            command
        })
    }

    /// Counts items as claimed and settled that were counted as accepted and are not in the queue. If this fails, an audit shows
    /// it.
    async fn settle_refused(
        &self,
        refused: Volume,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let counts = ["claimed", "settled"].map(|name| self.count(name, refused));
        Transaction::new(counts.into_iter().flatten()).replies(connection).await.map(|_replies| ())
    }

    /// The ledger as it is now.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. A replica is an error, because its data may be old.
    pub async fn ledger(&self) -> Result<Ledger, QueueError> {
        let command = &ledger::read(&self.keys);
        let run = |mut connection: MultiplexedConnection| async move {
            greeting::require_primary(&mut connection).await?;
            command.query_async::<Value>(&mut connection).await
        };
        let reply = self.link.run(run).await.map_err(|error| error.on(&self.keys.ledger, "hash"))?;
        ledger::parse(&self.keys, reply)
    }
}

fn is_error(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(_))
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
