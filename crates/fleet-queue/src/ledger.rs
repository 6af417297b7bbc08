//! What a queue has counted: every message that was accepted, claimed and settled.

use redis::Cmd;

use crate::QueueKeys;

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

/// A queue's counters at one moment. As long as Redis forgets nothing, each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Ever pushed.
    pub accepted: Volume,
    /// Ever claimed.
    pub claimed: Volume,
    /// Ever acked.
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
}

/// The fields as Redis holds them; absent before the first message.
pub(crate) type Fields = (Option<u64>, Option<u64>, Option<u64>, Option<u64>, Option<u64>, Option<u64>);

/// The command that reads [`Fields`].
pub(crate) fn read(keys: &QueueKeys) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command.arg(&keys.ledger).arg("accepted_messages").arg("accepted_bytes");
    command.arg("claimed_messages").arg("claimed_bytes").arg("settled_messages").arg("settled_bytes");
    command
}

impl From<Fields> for Ledger {
    fn from(fields: Fields) -> Self {
        let volume = |messages: Option<u64>, bytes: Option<u64>| Volume {
            messages: messages.unwrap_or_default(),
            bytes: bytes.unwrap_or_default(),
        };
        Self {
            accepted: volume(fields.0, fields.1),
            claimed: volume(fields.2, fields.3),
            settled: volume(fields.4, fields.5),
        }
    }
}
