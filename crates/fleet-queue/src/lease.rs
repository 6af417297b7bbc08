//! One claimed batch.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::error::QueueError;

/// A batch of messages. It belongs to one consumer until this consumer acknowledges it, or until the lease expires and another
/// consumer takes it over. A takeover does not change the batch.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Name of the batch, the same for every owner. The databases record it when the batch is stored.
    pub id: Uuid,
    /// Proof of ownership; every owner has its own.
    pub token: Uuid,
    /// How many owners died while the batch was marked.
    pub takeovers: u32,
    /// The mark that the previous owner left. A takeover marks a batch without a mark for parsing.
    pub mark: Mark,
    /// The envelopes, in the order in which they were pushed.
    pub items: Vec<Bytes>,
}

/// What the owner is doing that could crash it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing. If the owner dies, the batch is not suspected.
    Clear,
    /// It parses the batch's messages.
    Parsing,
}

impl Mark {
    pub(crate) fn encode(self) -> &'static str {
        match self {
            Self::Clear => "",
            Self::Parsing => "parsing",
        }
    }

    /// Earlier versions also wrote `items:` and the indexes of the messages that had crashed their owners. A consumer that the
    /// kernel killed for memory left the same mark, so the indexes prove nothing. It counts as parsing.
    fn decode(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::Clear),
            "parsing" => Some(Self::Parsing),
            other => other.starts_with("items:").then_some(Self::Parsing),
        }
    }
}

impl Lease {
    /// The lease without its messages, for the heartbeat.
    #[must_use]
    pub fn without_items(&self) -> Self {
        let Self { id, token, takeovers, mark, items: _ } = self;
        Self { id: *id, token: *token, takeovers: *takeovers, mark: *mark, items: Vec::new() }
    }

    /// How many bytes its messages have.
    pub fn bytes(&self) -> usize {
        self.items.iter().map(Bytes::len).sum()
    }

    /// Parses a script's reply: the owner's record, then the items.
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
    /// Most messages that the claim takes.
    pub max_messages: usize,
    /// Most bytes of envelopes that the claim takes. A larger message at the head of the queue is a batch of its own.
    pub max_bytes: usize,
    /// How long the lease lasts without a heartbeat.
    pub lease: Duration,
}
