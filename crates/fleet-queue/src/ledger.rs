//! A queue's counters: how many messages were accepted, claimed and settled.

use redis::{Cmd, Value};

use crate::broken::BrokenKey;
use crate::error::QueueError;
use crate::keys::QueueKeys;

/// A number of messages, and the bytes of their envelopes.
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

    fn exceeds(self, other: Self) -> bool {
        self.messages > other.messages || self.bytes > other.bytes
    }
}

/// A queue's counters at one moment. They only grow, unless Redis loses data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Pushed since the queue exists.
    pub accepted: Volume,
    /// Claimed since the queue exists.
    pub claimed: Volume,
    /// Acknowledged since the queue exists.
    pub settled: Volume,
}

impl Ledger {
    /// Accepted but not settled: waiting and leased.
    pub fn backlog(&self) -> Volume {
        self.accepted.minus(self.settled)
    }

    /// Claimed but not settled.
    pub fn leased(&self) -> Volume {
        self.claimed.minus(self.settled)
    }

    /// Why these counters are impossible: a message is accepted, then claimed, then settled.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        if self.settled.exceeds(self.claimed) {
            Some("more was settled than claimed")
        } else if self.claimed.exceeds(self.accepted) {
            Some("more was claimed than accepted")
        } else {
            None
        }
    }
}

/// The fields of a [`Ledger`] in Redis; absent before the first message.
const FIELDS: [&str; 6] = [
    "accepted_messages",
    "accepted_bytes",
    "claimed_messages",
    "claimed_bytes",
    "settled_messages",
    "settled_bytes",
];

/// The fields of the consumers' last check for lost history.
const LOOK_FIELDS: [&str; 3] = ["look", "looked_at_ms", "looked_accepted"];

/// The command that reads [`LOOK_FIELDS`].
pub(crate) fn read_look(keys: &QueueKeys) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command.arg(&keys.ledger).arg(&LOOK_FIELDS);
    command
}

/// Checks that a reply to [`read_look`] contains counts.
///
/// # Errors
///
/// As [`parse`].
pub(crate) fn check_look(keys: &QueueKeys, reply: Value) -> Result<(), QueueError> {
    counts(keys, LOOK_FIELDS, reply).map(|_counts| ())
}

/// The command that reads [`FIELDS`].
pub(crate) fn read(keys: &QueueKeys) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command.arg(&keys.ledger).arg(&FIELDS);
    command
}

/// The counters in a reply to [`read`].
///
/// # Errors
///
/// [`QueueError::Broken`] if the key has the wrong type, or if its counters are impossible; any other error in the reply.
pub(crate) fn parse(keys: &QueueKeys, reply: Value) -> Result<Ledger, QueueError> {
    let ledger = parse_unchecked(keys, reply)?;
    match ledger.contradiction() {
        None => Ok(ledger),
        Some(why) => Err(corrupt(keys, why)),
    }
}

/// As [`parse`], but accepts counters that contradict each other.
pub(crate) fn parse_unchecked(keys: &QueueKeys, reply: Value) -> Result<Ledger, QueueError> {
    let [accepted_messages, accepted_bytes, claimed_messages, claimed_bytes, settled_messages, settled_bytes] =
        counts(keys, FIELDS, reply)?;
    Ok(Ledger {
        accepted: Volume { messages: accepted_messages, bytes: accepted_bytes },
        claimed: Volume { messages: claimed_messages, bytes: claimed_bytes },
        settled: Volume { messages: settled_messages, bytes: settled_bytes },
    })
}

/// The counts in a reply to HMGET.
fn counts<const N: usize>(keys: &QueueKeys, names: [&str; N], reply: Value) -> Result<[u64; N], QueueError> {
    let reply = reply.extract_error().map_err(|error| QueueError::from(error).on(&keys.ledger, "hash"))?;
    let fields: Vec<Value> = redis::from_redis_value(reply).map_err(redis::RedisError::from)?;
    let mut counts = [0; N];
    for ((count, name), value) in counts.iter_mut().zip(names).zip(fields) {
        let text = if let Value::BulkString(text) = &value { Some(text.as_slice()) } else { None };
        *count = self::count(keys, name, text)?;
    }
    Ok(counts)
}

/// One field of the ledger.
///
/// # Errors
///
/// [`QueueError::Broken`] if it is not a count.
pub(crate) fn count(keys: &QueueKeys, field: &str, text: Option<&[u8]>) -> Result<u64, QueueError> {
    let Some(text) = text else { return Ok(0) };
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse::<u64>().map_err(|_no_count| {
        let what = if text.parse::<i64>().is_ok() { "negative" } else { "no whole number" };
        corrupt(keys, &format!("{field} is {what}"))
    })
}

/// The error for a ledger with impossible counters.
pub(crate) fn corrupt(keys: &QueueKeys, why: &str) -> QueueError {
    QueueError::Broken(BrokenKey::Counters { key: keys.ledger.clone(), why: why.to_owned() })
}
