//! One claimed batch.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::error::QueueError;

/// A batch of messages that belongs to one consumer until it is acked, or its lease expires and another one takes
/// it over. Immutable: the batch stays whole through every takeover.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Name of the batch, the same for every owner; the databases remember it as settled.
    pub id: Uuid,
    /// Proof of ownership; every owner has its own.
    pub token: Uuid,
    /// How many owners died while they had the batch marked.
    pub takeovers: u32,
    /// What was marked when the lease changed hands; a clear one is marked for parsing then.
    pub mark: Mark,
    /// The envelopes, in the order in which they were pushed.
    pub items: Vec<Bytes>,
}

/// What an owner is doing that could kill it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing: its death does not count against the batch.
    Clear,
    /// It parses messages of the batch.
    Parsing,
}

impl Mark {
    pub(crate) fn encode(self) -> &'static str {
        match self {
            Self::Clear => "",
            Self::Parsing => "parsing",
        }
    }

    /// Earlier versions also wrote `items:` and the indexes of the messages that had killed their owners. A consumer that was
    /// killed for memory left the same behind, so they prove nothing: the owner was parsing.
    fn decode(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::Clear),
            "parsing" => Some(Self::Parsing),
            other => other.starts_with("items:").then_some(Self::Parsing),
        }
    }
}

impl Lease {
    /// The lease without its batch, for the heartbeat.
    #[must_use]
    pub fn without_items(&self) -> Self {
        let Self { id, token, takeovers, mark, items: _ } = self;
        Self { id: *id, token: *token, takeovers: *takeovers, mark: *mark, items: Vec::new() }
    }

    /// Reads a script's reply: the owner's record, then the items.
    pub(crate) fn from_reply(id: Uuid, token: Uuid, reply: Vec<Bytes>) -> Result<Self, QueueError> {
        let nonsense = || QueueError::Reply(format!("the record of lease {id} cannot be read"));
        let mut items = reply;
        let record = items.remove(0);
        let record = std::str::from_utf8(&record).map_err(|_| nonsense())?;
        let mut words = record.splitn(4, ' ').skip(1);
        let takeovers = words.next().and_then(|word| word.parse().ok()).ok_or_else(nonsense)?;
        let mark = words.nth(1).and_then(Mark::decode).ok_or_else(nonsense)?;
        Ok(Self { id, token, takeovers, mark, items })
    }
}

/// How much one claim takes, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct ClaimLimits {
    /// Most messages in a batch.
    pub max_messages: usize,
    /// Most bytes of envelopes in a batch; a single larger message is a batch of its own.
    pub max_bytes: usize,
    /// How long the batch stays the owner's without a heartbeat.
    pub lease: Duration,
}
