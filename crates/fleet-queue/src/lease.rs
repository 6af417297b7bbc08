//! One claimed batch.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::QueueError;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing: its death does not speak against the batch.
    Clear,
    /// It parses the whole batch.
    Parsing,
    /// It parses the items one by one. Each index killed an owner, but perhaps the last one, which is being parsed
    /// now.
    Items(Vec<usize>),
}

impl Mark {
    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Clear => String::new(),
            Self::Parsing => "parsing".to_owned(),
            Self::Items(indexes) => {
                let words: Vec<_> = indexes.iter().map(usize::to_string).collect();
                format!("items:{}", words.join(","))
            }
        }
    }

    fn decode(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::Clear),
            "parsing" => Some(Self::Parsing),
            items => {
                let indexes = items.strip_prefix("items:")?.split(',');
                Some(Self::Items(indexes.map(|index| index.parse().ok()).collect::<Option<_>>()?))
            }
        }
    }
}

impl Lease {
    /// The lease without its batch, for the heartbeat.
    #[must_use]
    pub fn without_items(&self) -> Self {
        let Self { id, token, takeovers, mark, items: _ } = self;
        Self { id: *id, token: *token, takeovers: *takeovers, mark: mark.clone(), items: Vec::new() }
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
